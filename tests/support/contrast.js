() => {
  const parse = c => (c.match(/[\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length && c[3] !== 0) return c; } return [255, 255, 255]; };
  const found = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].filter(n => n.nodeType === 3 && n.textContent.trim()).map(n => n.textContent.trim()).join(' ');
    if (!own || !e.getClientRects().length || ['STYLE', 'TITLE', 'title'].includes(e.tagName)) continue;
    const style = getComputedStyle(e), svg = e instanceof SVGElement;
    const disc = svg && e.classList.contains('glyph') ? e.closest('a').querySelector('.disc') : null;
    const ink = parse(svg ? style.fill : style.color);
    const paper = disc ? parse(getComputedStyle(disc).fill) : behind(svg ? e.closest('svg').parentElement : e);
    const [a, b] = [light(ink), light(paper)].sort((x, y) => y - x);
    found.push([own.slice(0, 40), Math.round(100 * (a + .05) / (b + .05)) / 100]);
  }
  return found; }
