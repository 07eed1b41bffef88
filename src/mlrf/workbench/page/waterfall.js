// The waterfall: bars that lead from the average to the sum of one row.
import { brief, short, shown, signed, ticks } from "./numbers.js";
import { colour, cut, frame, small, svg } from "./svg.js";

const LINE = 26, BAR = 16;

// The names of contributions, the largest first.
export function byMagnitude(contributions) {
  const order = Object.keys(contributions).map((name, i) => [name, Math.abs(contributions[name]), i]);
  return order.sort((a, b) => b[1] - a[1] || a[2] - b[2]).map(([name]) => name);
}

// A bar for each of the names, and one for the sum of all others.
export function barsOf(contributions, names) {
  const bars = names.map((name) => ({ names: [name], contribution: contributions[name] }));
  const own = new Set(names), rest = Object.keys(contributions).filter((name) => !own.has(name));
  if (rest.length) {
    bars.push({ names: rest, contribution: rest.reduce((sum, name) => sum + contributions[name], 0), isRest: true });
  }
  return bars;
}

// The `top` largest contributions in descending order, and the sum of the others.
export const largest = (contributions, top) => barsOf(contributions, byMagnitude(contributions).slice(0, top));

// The sums that the bars lead through, from the base on.
export function sumsOf(base, bars) {
  const sums = [base];
  for (const each of bars) sums.push(sums.at(-1) + each.contribution);
  return sums;
}

function ghostBars(bars, ghost) {
  return bars.map((each) => ({ ...each, contribution: each.names.reduce((sum, name) => sum + ghost.contributions[name], 0) }));
}

// Draw `bars`. `ghost` has base and contributions by name of the row that this one is compared with; `domain` are the ends of
// the scale where several drawings share one.
export function waterfall({ width, bars, values, base, margin, ghost, link, linkName, domain, title = "Why this number" }) {
  const differences = Boolean(ghost) && width >= 480;
  const labels = Math.round(width * 0.42), right = differences ? 190 : 92, top = link ? 42 : 24;
  const height = top + LINE * (bars.length + 2) + 34;
  const sums = sumsOf(base, bars), before = ghost ? ghostBars(bars, ghost) : [], ghostSums = ghost ? sumsOf(ghost.base, before) : [];
  const all = domain ?? [...sums, margin, ...ghostSums];
  const low = Math.min(...all), high = Math.max(...all), span = high - low || 1;
  const x = (v) => labels + ((v - low) / span) * (width - labels - right);
  const ink = colour("--ink"), thin = colour("--line");
  const drawn = frame(width, height, title, `${bars.length} bars from ${short(base)} to ${short(margin)}`);
  for (const tick of ticks(low, high, Math.max(2, Math.floor((width - labels - right) / 64)))) {
    drawn.append(svg("line", { x1: x(tick), x2: x(tick), y1: top, y2: height - 30, stroke: thin, "stroke-opacity": 0.35 }));
    drawn.append(small({ x: x(tick), y: height - 14, "text-anchor": "middle" }, short(tick)));
    if (link) drawn.append(small({ x: x(tick), y: top - 6, "text-anchor": "middle", class: "second-scale" }, brief(link(tick))));
  }
  drawn.append(small({ x: 0, y: height - 14 }, "sum (margin)"));
  if (link) drawn.append(small({ x: 0, y: top - 6 }, cut(`as prediction: ${linkName}`, Math.floor(labels / 6))));
  const write = (i, name, number, whole, style = {}) => {
    const y = top + LINE * i + BAR - 2;
    drawn.append(svg("text", { x: 0, y, ...style }, svg("title", {}, whole), cut(name, Math.floor(labels / 7.2))));
    drawn.append(svg("text", { x: width, y, "text-anchor": "end", ...style }, number));
  };
  const mark = (i, v) => drawn.append(svg("line", {
    x1: x(v), x2: x(v), y1: top + LINE * i, y2: top + LINE * i + BAR, stroke: ink, "stroke-width": 3,
  }));
  const withChange = (text, change) => (differences && change !== 0 ? `${text} (${signed(change)})` : text);
  const bold = { "font-weight": "bold" };
  write(0, "average", short(base), "the average over the training rows", bold);
  mark(0, base);
  bars.forEach((each, i) => {
    const name = each.isRest ? `${each.names.length} other features` : `${each.names[0]} = ${shown(values[each.names[0]])}`;
    const y = top + LINE * (i + 1), from = x(sums[i]), to = x(sums[i + 1]);
    drawn.append(svg("line", { x1: from, x2: from, y1: y - (LINE - BAR), y2: y, stroke: thin }));
    if (ghost) {
      const a = x(ghostSums[i]), b = x(ghostSums[i + 1]);
      drawn.append(svg("rect", {
        class: "ghost", x: Math.min(a, b), y: y - 3, width: Math.max(1, Math.abs(b - a)), height: BAR + 6,
        fill: "none", stroke: thin, "stroke-width": 1.5,
      }));
    }
    drawn.append(svg("rect", {
      class: "bar", x: Math.min(from, to), y, width: Math.max(1, Math.abs(to - from)), height: BAR,
      fill: colour(each.contribution >= 0 ? "--raise" : "--lower"),
    }, svg("title", {}, `${name}: ${signed(each.contribution)}`)));
    const change = ghost ? each.contribution - before[i].contribution : 0;
    write(i + 1, name, withChange(signed(each.contribution), change), `${name}: ${each.contribution}`);
  });
  const total = withChange(short(margin), ghost ? margin - ghost.margin : 0);
  write(bars.length + 1, "this row", total, `the sum for this row: ${margin}`, bold);
  mark(bars.length + 1, margin);
  return drawn;
}
