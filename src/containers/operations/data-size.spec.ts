import { DomainError } from '../../errors';
import { assertDataFits, leastDiskMb } from './data-volumes';

const MIB = 1024 * 1024;

describe('the size that data needs', () => {
  it.each([
    [0, 16],
    [1, 17],
    [100 * MIB, 116],
    [1000 * MIB, 1050],
    [1000 * MIB + 1, 1051],
  ])('for %i bytes must be %i MiB', (bytes, min) => {
    expect(leastDiskMb(bytes)).toBe(min);
  });

  it('must be refused when it is not there, by its field', () => {
    expect(() => assertDataFits(1000 * MIB, 1050)).not.toThrow();
    const refusal = ((): unknown => {
      try {
        assertDataFits(1000 * MIB, 1049);
      } catch (error) {
        return error;
      }
      return null;
    })();
    expect(refusal).toBeInstanceOf(DomainError);
    expect((refusal as DomainError).options.fields).toEqual({
      details: [
        { field: 'disk_mb', min: 1050, message: 'must be at least 1050 for the 1000 MiB of data in the container' },
      ],
    });
  });
});
