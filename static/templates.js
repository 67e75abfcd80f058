// Fills templates like Jinja, from the trees that lesion_lens/web/template_trees.py makes of them. It
// supports only the parts of Jinja that result.html uses. tests/test_device_pages.py compares the two.
import { fixed } from "./wording.js";

// HTML, which is not escaped again.
class Markup {
  constructor(html) {
    this.html = html;
  }
}

const filtersHere = Symbol("filters"); // the key of the filters in a scope
const entities = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&#34;", "'": "&#39;" };
const escaped = new RegExp(`[${Object.keys(entities).join("")}]`, "g");

// Fill a tree, which is a list of nodes. `context` holds its variables, `filters` those beyond Jinja's own.
export function render(tree, context, filters = {}) {
  const scope = Object.assign(Object.create(null), context);
  scope[filtersHere] = { ...ownFilters, ...filters };
  return fill(tree, scope);
}

const fill = (nodes, scope) => (nodes ?? []).map((node) => known(statements, node.kind)(node, scope)).join("");
const evaluate = (node, scope) => known(expressions, node.kind)(node, scope);
const all = (nodes, scope) => (nodes ?? []).map((node) => evaluate(node, scope));

function known(table, name) {
  if (!Object.hasOwn(table, name)) throw new Error(`templates cannot use ${name}`);
  return table[name];
}

// --- The statements of a template: each returns its HTML ---

export const statements = {
  Output: ({ nodes }, scope) => nodes.map((node) => asHtml(evaluate(node, scope))).join(""),
  If: (node, scope) => fill(isTrue(evaluate(node.test, scope)) ? node.body : node.else_, scope),
  For({ target, iter, body }, scope) {
    const items = evaluate(iter, scope);
    const { length } = items;
    return items
      .map((item, index0) => {
        const inner = Object.create(scope); // variables set in a loop are unknown after it
        assign(target, item, inner);
        inner.loop = { index0, index: index0 + 1, first: index0 === 0, last: index0 === length - 1, length };
        return fill(body, inner);
      })
      .join("");
  },
  Assign({ target, node }, scope) {
    assign(target, evaluate(node, scope), scope);
    return "";
  },
  Macro({ name, args = [], defaults = [], body }, scope) {
    const firstDefault = args.length - defaults.length;
    scope[name] = (given, named) => {
      const inner = Object.create(scope);
      args.forEach((argument, i) => {
        inner[argument.name] = i < given.length ? given[i] : named[argument.name];
        if (inner[argument.name] === undefined && i >= firstDefault)
          inner[argument.name] = evaluate(defaults[i - firstDefault], inner);
      });
      return new Markup(fill(body, inner));
    };
    return "";
  },
  Import({ target, body }, scope) {
    const inner = Object.create(scope);
    fill(body, inner);
    scope[target] = inner;
    return "";
  },
};

function assign(target, value, scope) {
  if (target.kind === "Tuple") target.items.forEach((one, i) => assign(one, value[i], scope));
  else scope[target.name] = value;
}

function notMarkup(value) {
  if (value instanceof Markup) throw new Error("templates cannot join the output of a macro");
  return value;
}

function asHtml(value) {
  if (value instanceof Markup) return value.html;
  if (value === undefined) return "";
  if (typeof value === "string") return value.replace(escaped, (sign) => entities[sign]);
  if (Number.isInteger(value)) return String(value); // Python writes fractions differently
  throw new Error(`templates cannot write ${JSON.stringify(value)}`);
}

// --- The expressions of a template: each returns its value ---

export const expressions = {
  TemplateData: ({ data }) => new Markup(data),
  Const: ({ value }) => value,
  Name: ({ name }, scope) => scope[name],
  Tuple: ({ items }, scope) => all(items, scope),
  Dict: ({ items }, scope) =>
    Object.fromEntries(items.map(({ key, value }) => [evaluate(key, scope), evaluate(value, scope)])),
  Getattr: ({ node, attr }, scope) => member(evaluate(node, scope), attr),
  Getitem({ node, arg }, scope) {
    const value = evaluate(node, scope);
    if (arg.kind !== "Slice") return member(value, evaluate(arg, scope));
    const [start, stop] = [arg.start, arg.stop].map((end) => end && evaluate(end, scope));
    return typeof value === "string" ? [...value].slice(start, stop).join("") : value.slice(start, stop);
  },
  Call({ node, args, kwargs = [] }, scope) {
    const named = Object.fromEntries(kwargs.map(({ key, value }) => [key, evaluate(value, scope)]));
    return evaluate(node, scope)(all(args, scope), named);
  },
  Filter({ node, name, args }, scope) {
    return known(scope[filtersHere], name)(evaluate(node, scope), ...all(args, scope));
  },
  Test: ({ node, name }, scope) => known(tests, name)(evaluate(node, scope)),
  CondExpr({ test, expr1, expr2 }, scope) {
    if (isTrue(evaluate(test, scope))) return evaluate(expr1, scope);
    return expr2 && evaluate(expr2, scope);
  },
  And(node, scope) {
    const left = evaluate(node.left, scope);
    return isTrue(left) ? evaluate(node.right, scope) : left;
  },
  Or(node, scope) {
    const left = evaluate(node.left, scope);
    return isTrue(left) ? left : evaluate(node.right, scope);
  },
  Not: ({ node }, scope) => !isTrue(evaluate(node, scope)),
  Compare({ expr, ops }, scope) {
    let left = evaluate(expr, scope);
    return ops.every((operand) => {
      const [former, right] = [left, evaluate(operand.expr, scope)];
      left = right; // for a chain such as 0 < x < 1
      return known(comparisons, operand.op)(former, right);
    });
  },
  Mul: ({ left, right }, scope) => evaluate(left, scope) * evaluate(right, scope),
  Concat: ({ nodes }, scope) => all(nodes, scope).map(notMarkup).join(""),
};

const comparisons = {
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  lt: (a, b) => a < b,
  lteq: (a, b) => a <= b,
  gt: (a, b) => a > b,
  gteq: (a, b) => a >= b,
};

export const tests = { none: (value) => value === null, defined: (value) => value !== undefined };

// Jinja's own filters; `format` knows only '%.2f' and the like.
export const ownFilters = {
  format: (pattern, ...values) =>
    pattern.replace(/%(\.\d+f|.)/g, (found, kind) => {
      if (kind.length < 3) throw new Error(`templates cannot write a number as ${found}`);
      return fixed(values.shift(), parseInt(kind.slice(1), 10));
    }),
  join: (values, between) => values.join(between),
  replace: (words, former, other) => words.replaceAll(former, () => other),
};

// Truth as in Python: what is empty is false, too.
function isTrue(value) {
  if (Array.isArray(value)) return value.length > 0;
  if (value instanceof Markup) return value.html !== "";
  if (value !== null && typeof value === "object") return Object.keys(value).length > 0;
  return Boolean(value);
}

function member(value, name) {
  if (value === undefined) throw new Error(`a template asks for ${name} of an undefined value`);
  return value !== null && Object.hasOwn(value, name) ? value[name] : undefined;
}
