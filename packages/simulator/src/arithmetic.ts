import type { parse } from 'just-bash';

/** An error of syntax or expansion, which ends the script. */
export class ShellFault extends Error {
  override readonly name = 'ShellFault';
}

type Command = ReturnType<typeof parse>['statements'][number]['pipelines'][number]['commands'][number];
/** An arithmetic expression as the parser leaves it. */
type Arithmetic = Extract<Command, { type: 'ArithmeticCommand' }>['expression']['expression'];

interface Variables {
  variable(name: string): string | undefined;
  assign(name: string, value: string): void;
  /** Expands a text as between double quotes. */
  text(script: string): Promise<string>;
}

const BINARY: Readonly<Record<string, (left: bigint, right: bigint) => bigint | boolean>> = {
  '+': (left, right) => left + right,
  '-': (left, right) => left - right,
  '*': (left, right) => left * right,
  '/': (left, right) => left / divisor(right),
  '%': (left, right) => left % divisor(right),
  '**': (left, right) => left ** right,
  '<<': (left, right) => left << (right & 63n),
  '>>': (left, right) => left >> (right & 63n),
  '<': (left, right) => left < right,
  '<=': (left, right) => left <= right,
  '>': (left, right) => left > right,
  '>=': (left, right) => left >= right,
  '==': (left, right) => left === right,
  '!=': (left, right) => left !== right,
  '&': (left, right) => left & right,
  '|': (left, right) => left | right,
  '^': (left, right) => left ^ right,
  ',': (_left, right) => right,
};

/** The value of an arithmetic expression. @throws ShellFault */
export async function calculate(expression: Arithmetic, variables: Variables): Promise<number> {
  return Number(await value(expression, variables));
}

async function value(expression: Arithmetic, variables: Variables): Promise<bigint> {
  const of = (each: Arithmetic): Promise<bigint> => value(each, variables);
  const set = (name: string, result: bigint): bigint => {
    variables.assign(name, String(result));
    return result;
  };
  switch (expression.type) {
    case 'ArithNumber':
      return BigInt(Math.trunc(expression.value));
    case 'ArithVariable':
    case 'ArithSpecialVar':
      return numberOf(expression.name, variables);
    case 'ArithGroup':
    case 'ArithNested':
      return of(expression.expression);
    case 'ArithTernary':
      return of((await of(expression.condition)) === 0n ? expression.alternate : expression.consequent);
    case 'ArithBinary': {
      const left = await of(expression.left);
      if (expression.operator === '&&') return left !== 0n && (await of(expression.right)) !== 0n ? 1n : 0n;
      if (expression.operator === '||') return left !== 0n || (await of(expression.right)) !== 0n ? 1n : 0n;
      return combined(left, expression.operator, await of(expression.right));
    }
    case 'ArithUnary': {
      const { operator, operand, prefix } = expression;
      const before = await of(operand);
      if (operator === '-') return -before;
      if (operator === '+') return before;
      if (operator === '~') return ~before;
      if (operator === '!') return before === 0n ? 1n : 0n;
      const after = before + (operator === '++' ? 1n : -1n);
      if (operand.type === 'ArithVariable') set(operand.name, after);
      return prefix ? after : before;
    }
    case 'ArithAssignment': {
      const { operator, variable } = expression;
      const right = await of(expression.value);
      const left = numberOf(variable, variables);
      return set(variable, operator === '=' ? right : combined(left, operator.slice(0, -1), right));
    }
    case 'ArithBracedExpansion':
      return parsedNumber(await variables.text(`\${${expression.content}}`));
    case 'ArithCommandSubst':
      return parsedNumber(await variables.text(`$(${expression.command})`));
    default:
      throw new ShellFault(`${expression.type} is not simulated`);
  }
}

function combined(left: bigint, operator: string, right: bigint): bigint {
  const result = BINARY[operator]?.(left, right) ?? 0n;
  return BigInt.asIntN(64, BigInt(result));
}

function divisor(right: bigint): bigint {
  if (right === 0n) throw new ShellFault('division by zero');
  return right;
}

/** The number that a variable has, or that the variable of which it has the name has. */
function numberOf(name: string, variables: Variables, depth = 0): bigint {
  const text = variables.variable(name)?.trim() ?? '';
  const isName = /^[A-Za-z_]\w*$/.test(text);
  return isName && depth < 100 ? numberOf(text, variables, depth + 1) : parsedNumber(text);
}

function parsedNumber(text: string): bigint {
  const [, sign = '', digits = ''] = /^\s*([-+]?)\s*(\w*)\s*$/.exec(text) ?? [];
  if (digits === '') return 0n;
  try {
    const magnitude = BigInt(/^0\d/.test(digits) ? `0o${digits.slice(1)}` : digits);
    return sign === '-' ? -magnitude : magnitude;
  } catch {
    throw new ShellFault(`Illegal number: ${text}`);
  }
}
