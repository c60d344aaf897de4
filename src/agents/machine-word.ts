/** How an operating system, an architecture or a version is called: `linux`, `x86_64`, `macOS 15.1`. */
export const MACHINE_WORD = /^[A-Za-z0-9](?:[A-Za-z0-9 ._+-]{0,62}[A-Za-z0-9._+-])?$/;
export const MACHINE_WORD_RULE = '1 to 64 of A-Z, a-z, 0-9, ".", "_", "+", "-" and blanks within';
