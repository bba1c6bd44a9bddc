"use strict";
// The page is a file: when nothing renders it any more, it has to say so by itself.
(() => {
  const page = document.documentElement.dataset;
  const at = Date.parse(page.at), limit = Number(page.limitS) * 1000;
  const age = document.getElementById("age"), headline = document.getElementById("headline");
  const words = (ms) => {
    const s = Math.max(0, Math.round(ms / 1000));
    if (s < 90) return s + " s";
    if (s < 5400) return Math.round(s / 60) + " min";
    return s < 172800 ? Math.round(s / 3600) + " h" : Math.round(s / 86400) + " days";
  };
  const show = () => {
    const old = Date.now() - at;
    age.textContent = ", " + words(old) + " ago";
    if (old > limit && !page.old) {
      page.old = "yes";
      headline.className = "verdict unknown";
      headline.querySelector("b").textContent = "?";
      headline.querySelector("span").textContent = page.oldText;
      document.title = "Out of date \u00b7 Millrace";
    }
  };
  show();
  setInterval(show, 5000);
})();
