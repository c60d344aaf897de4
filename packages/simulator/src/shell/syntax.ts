/** A part of a word, before it is expanded. */
export type Part =
  | { readonly is: 'text'; readonly text: string; readonly quoted: boolean }
  | {
      readonly is: 'parameter';
      readonly name: string;
      /** Such as `:-` or `##`; `length` for `${#x}`; empty for the value. */
      readonly operator: string;
      readonly word: Word;
      readonly quoted: boolean;
    }
  | { readonly is: 'command'; readonly list: List; readonly quoted: boolean }
  | { readonly is: 'arithmetic'; readonly word: Word; readonly quoted: boolean };

export type Word = readonly Part[];

export interface Redirection {
  readonly descriptor: number | null;
  readonly operator: '<' | '>' | '>>' | '<&' | '>&' | '>|' | '<>' | '<<' | '&>';
  /** Of `<<`, the text itself. */
  readonly target: Word;
}

export interface Simple {
  readonly is: 'simple';
  readonly assignments: readonly { readonly name: string; readonly value: Word }[];
  readonly words: readonly Word[];
  readonly redirections: readonly Redirection[];
}

export type Compound =
  | { readonly is: 'group' | 'subshell'; readonly body: List }
  | {
      readonly is: 'if';
      readonly branches: readonly { condition: List; body: List }[];
      readonly otherwise: List | null;
    }
  | { readonly is: 'loop'; readonly until: boolean; readonly condition: List; readonly body: List }
  | { readonly is: 'for'; readonly name: string; readonly words: readonly Word[] | null; readonly body: List }
  | { readonly is: 'case'; readonly word: Word; readonly branches: readonly { patterns: Word[]; body: List }[] }
  | { readonly is: 'function'; readonly name: string; readonly body: Command };

export type Command = Simple | (Compound & { readonly redirections: readonly Redirection[] });

export interface Pipeline {
  readonly commands: readonly Command[];
  readonly negated: boolean;
}

/** Pipelines with `&&` and `||` between them. */
export interface Chain {
  readonly first: Pipeline;
  readonly rest: readonly { readonly on: '&&' | '||'; readonly pipeline: Pipeline }[];
  readonly background: boolean;
}

export type List = readonly Chain[];
