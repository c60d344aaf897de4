/**
 * A program for x86-64 Linux, as shell words: starts threads that wait for ever until one is refused, then prints how
 * many there are and waits too. The test image has nothing that starts threads. Made of these lines by
 * `as bomb.s -o bomb.o && ld -s -n -z noseparate-code --build-id=none bomb.o -o bomb && gzip -9n bomb`:
 *
 * ```
 * # Starts threads that wait for ever until one is refused, then prints how many there are and waits too.
 * .globl _start
 * _start:
 *     xor %ebx, %ebx
 * again:
 *     mov $9, %eax                # mmap(0, 8192, READ|WRITE, PRIVATE|ANONYMOUS, -1, 0): a stack
 *     xor %edi, %edi
 *     mov $8192, %esi
 *     mov $3, %edx
 *     mov $0x22, %r10d
 *     mov $-1, %r8
 *     xor %r9d, %r9d
 *     syscall
 *     lea 8192(%rax), %rsi
 *     mov $56, %eax               # clone(VM|FS|FILES|SIGHAND|THREAD|SYSVSEM, stack)
 *     mov $0x50f00, %edi
 *     xor %edx, %edx
 *     xor %r10d, %r10d
 *     xor %r8d, %r8d
 *     syscall
 *     test %rax, %rax
 *     jz wait
 *     js refused
 *     inc %ebx
 *     jmp again
 * refused:
 *     lea end(%rip), %rsi         # the number in decimal, written backwards
 *     movb $10, (%rsi)
 *     mov %ebx, %eax
 *     mov $10, %ecx
 * digit:
 *     xor %edx, %edx
 *     div %ecx
 *     add $48, %dl
 *     dec %rsi
 *     mov %dl, (%rsi)
 *     test %eax, %eax
 *     jnz digit
 *     lea end+1(%rip), %rdx
 *     sub %rsi, %rdx
 *     mov $1, %edi
 *     mov $1, %eax                # write(1, digits, length)
 *     syscall
 * wait:
 *     mov $34, %eax               # pause()
 *     syscall
 *     jmp wait
 * .bss
 *     .skip 11
 * end: .skip 1
 * ```
 */
const PROGRAM = [
  'H4sIAAAAAAACA6t39XFjYmRkgAEmBjsGEK+CwQHMd4CKKyCUAMUsgGocGFgYmMFq2cHqIQCmD0Z3Q8VnCEBomDGGt3dwgqj/+xgU',
  'GBh2MQPZjruUgKTn8QP/gcDV8CQ/q0fvBpDsDgug+H4GflYGw0uuIHQAKNV6oMS2guX/4dfbPXpNXYCmH2Pj6ryxkwtk6KXvHxsO',
  'GXj8P9ch1nqg9INHr6gKUIGH5qf9IOt3gAh+1h1KYOr1dwa94ozikqKSxCQGvZLUihIGvaTiYgYqAW6on9kwwocBJXxggBGNLwjE',
  'HEDMDOUzC0L0M0MV8hLQz4ikFxnA9IsR0A8A5oM1YCACAAA=',
].join('');

/** Writes the program to a path, to be run there. */
export const writeThreadBomb = (path: string): string =>
  `echo ${PROGRAM} | base64 -d | gunzip > ${path} && chmod 755 ${path}`;
