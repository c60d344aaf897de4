/** Names as a sentence lists them. */
export const listWords = {
  name: (name: string) => `“${name}”`,
  namesAndLast: ({ names, last }: { names: readonly string[]; last: string }) => `${names.join(', ')} and ${last}`,
  namesAndMore: ({ names, more }: { names: readonly string[]; more: number }) =>
    `${names.join(', ')} and ${String(more)} more`,
};
