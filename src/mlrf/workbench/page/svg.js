// SVG elements, the frame of a drawing, and saving one as a file.
const SVG = "http://www.w3.org/2000/svg";

export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const cut = (text, n) => (text.length > n ? text.slice(0, n - 1) + "…" : text);

export function frame(width, height, title, text) {
  return svg("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": text ? `${title}. ${text}` : title,
    "font-family": "sans-serif", "font-size": 13, fill: colour("--ink"),
  }, svg("title", {}, title));
}

export const small = (attributes, text) => svg("text", { "font-size": 11, ...attributes }, text);

// Points [x, y] of one colour as one path: a dot is a line of no length with round ends.
export function dots(points, stroke, size = 4) {
  const d = points.map(([x, y]) => `M${x.toFixed(1)} ${y.toFixed(1)}h0`).join("");
  return svg("path", { class: "dots", d, stroke, "stroke-width": size, "stroke-linecap": "round", "stroke-opacity": 0.75, fill: "none" });
}

// Save a drawing as a file: SVG as it is, PNG through a canvas of twice its size.
export async function save(drawing, name, asPng) {
  const copy = drawing.cloneNode(true);
  copy.setAttribute("xmlns", SVG);
  const { width, height } = drawing.viewBox.baseVal;
  copy.prepend(svg("rect", { width, height, fill: colour("--paper") }));
  let blob = new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" });
  if (asPng) {
    const image = new Image(), source = URL.createObjectURL(blob);
    image.src = source;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width * 2, height * 2];
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    URL.revokeObjectURL(source);
    blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${name}.${asPng ? "png" : "svg"}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
