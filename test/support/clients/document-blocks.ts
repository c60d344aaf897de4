import { readFileSync } from 'node:fs';

/** A fenced block of a document. */
export interface DocumentBlock {
  /** The info string of the fence, such as `sh`. */
  readonly language: string;
  readonly text: string;
  /** The heading above the block. */
  readonly heading: string;
  /** The number of its first line. */
  readonly line: number;
  /** The block directly below: for a block of commands, their output. */
  readonly below: DocumentBlock | null;
}

const FENCE = /^```(\w*)$/;
const HEADING = /^#+ (.*)$/;

/** The fenced blocks of a Markdown document, in order. */
export function blocksOf(document: string): DocumentBlock[] {
  const blocks: (DocumentBlock & { below: DocumentBlock | null })[] = [];
  let heading = '';
  let open: { language: string; line: number; lines: string[] } | null = null;
  let isRightBelow = false;
  for (const [index, line] of readFileSync(document, 'utf8').split('\n').entries()) {
    const fence = FENCE.exec(line);
    if (open && fence) {
      const { language, line: first, lines } = open;
      const block = { language, text: `${lines.join('\n')}\n`, heading, line: first, below: null };
      const last = blocks.at(-1);
      if (last && isRightBelow) last.below = block;
      blocks.push(block);
      open = null;
      isRightBelow = true;
    } else if (open) open.lines.push(line);
    else if (fence) open = { language: fence[1] ?? '', line: index + 2, lines: [] };
    else {
      heading = HEADING.exec(line)?.[1] ?? heading;
      if (line !== '') isRightBelow = false;
    }
  }
  return blocks;
}
