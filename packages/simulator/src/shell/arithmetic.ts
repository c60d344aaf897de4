/** Where variables of an expression are. */
export interface Variables {
  get(name: string): string | undefined;
  set(name: string, value: string): void;
}

const LEVELS: readonly (readonly string[])[] = [
  ['||'],
  ['&&'],
  ['|'],
  ['^'],
  ['&'],
  ['==', '!='],
  ['<=', '>=', '<', '>'],
  ['<<', '>>'],
  ['+', '-'],
  ['*', '/', '%'],
];
const DEEPEST = 100;

/** @returns the value of an expression as `$((…))` has it. @throws Error with words for people */
export function calculate(text: string, variables: Variables): number {
  const expression = new Expression(text, variables);
  return expression.whole();
}

class Expression {
  private readonly tokens: string[];
  private at = 0;
  private depth = 0;

  constructor(
    text: string,
    private readonly variables: Variables,
  ) {
    this.tokens = text.match(/0[xX][0-9a-fA-F]+|\d+|[A-Za-z_]\w*|\+\+|--|[-+*/%]=|<<|>>|[<>=!]=|&&|\|\||[^\s]/g) ?? [];
  }

  whole(): number {
    if (this.tokens.length === 0) return 0;
    const value = this.assignment();
    if (this.at < this.tokens.length) throw this.fault();
    return value;
  }

  private assignment(): number {
    const [name = '', operator = ''] = this.tokens.slice(this.at, this.at + 2);
    if (!/^[A-Za-z_]/.test(name) || !/^[-+*/%]?=$/.test(operator)) return this.choice();
    this.at += 2;
    const right = this.assignment();
    const value = operator === '=' ? right : this.apply(operator.slice(0, 1), this.valueOf(name), right);
    this.variables.set(name, String(value));
    return value;
  }

  private choice(): number {
    const condition = this.binary(0);
    if (!this.take('?')) return condition;
    const yes = this.assignment();
    if (!this.take(':')) throw this.fault();
    const no = this.assignment();
    return condition ? yes : no;
  }

  private binary(level: number): number {
    const operators = LEVELS[level];
    if (!operators) return this.unary();
    let left = this.binary(level + 1);
    for (;;) {
      const operator = this.tokens[this.at] ?? '';
      if (!operators.includes(operator)) return left;
      this.at += 1;
      left = this.apply(operator, left, this.binary(level + 1));
    }
  }

  private unary(): number {
    this.depth += 1;
    if (this.depth > DEEPEST) throw this.fault();
    try {
      if (this.take('-')) return -this.unary();
      if (this.take('+')) return this.unary();
      if (this.take('!')) return this.unary() ? 0 : 1;
      if (this.take('~')) return ~this.unary();
      if (this.take('(')) {
        const value = this.assignment();
        if (!this.take(')')) throw this.fault();
        return value;
      }
      return this.operand();
    } finally {
      this.depth -= 1;
    }
  }

  private operand(): number {
    const step = this.take('++') ? 1 : this.take('--') ? -1 : 0;
    const token = this.tokens[this.at] ?? '';
    this.at += 1;
    if (/^\d/.test(token)) return Number(/^0\d/.test(token) ? `0o${token.slice(1)}` : token);
    if (!/^[A-Za-z_]/.test(token)) throw this.fault();
    const value = this.valueOf(token);
    const after = this.take('++') ? 1 : this.take('--') ? -1 : 0;
    if (step + after !== 0) this.variables.set(token, String(value + step + after));
    return value + step;
  }

  private valueOf(name: string): number {
    const text = (this.variables.get(name) ?? '').trim();
    if (text === '') return 0;
    const value = Number(/^-?0\d/.test(text) ? text.replace(/^(-?)0/, '$10o') : text);
    if (!Number.isInteger(value)) throw new Error(`Illegal number: ${text}`);
    return value;
  }

  private apply(operator: string, left: number, right: number): number {
    switch (operator) {
      case '||':
        return left || right ? 1 : 0;
      case '&&':
        return left && right ? 1 : 0;
      case '|':
        return left | right;
      case '^':
        return left ^ right;
      case '&':
        return left & right;
      case '==':
        return left === right ? 1 : 0;
      case '!=':
        return left === right ? 0 : 1;
      case '<':
        return left < right ? 1 : 0;
      case '>':
        return left > right ? 1 : 0;
      case '<=':
        return left <= right ? 1 : 0;
      case '>=':
        return left >= right ? 1 : 0;
      case '<<':
        return left << right;
      case '>>':
        return left >> right;
      case '+':
        return left + right;
      case '-':
        return left - right;
      case '*':
        return left * right;
    }
    if (right === 0) throw new Error('division by zero');
    return operator === '/' ? Math.trunc(left / right) : left % right;
  }

  private take(token: string): boolean {
    if (this.tokens[this.at] !== token) return false;
    this.at += 1;
    return true;
  }

  private fault(): Error {
    return new Error(`arithmetic expression: expecting primary: "${this.tokens.join(' ')}"`);
  }
}
