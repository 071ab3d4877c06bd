// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The look of the report: colours for light, dark and paper; charts; the page.

#include <string>

namespace study {

inline constexpr const char* colour_css = R"css(
:root{--paper:#fcfcfa;--ink:#1d2127;--soft:#5d6570;--rule:#d9dce0;--card:#f1f2f0;--own:#2f6db3;
--hinted:#1c8a6a;--foreign:#c9601f;--preference:#8455a8;--good:#1c7a4f;--bad:#b3261e}
@media (prefers-color-scheme:dark){:root{--paper:#14171b;--ink:#e6e8ea;--soft:#a0a7b0;--rule:#363c44;
--card:#1d2126;--own:#6ea8e6;--hinted:#4fc3a1;--foreign:#ee9258;--preference:#bd93de;--good:#5cc794;
--bad:#f2887f}}
@media print{:root{--paper:#fff;--ink:#000;--soft:#444;--rule:#bbb;--card:#f4f4f4;--own:#2f6db3;
--hinted:#1c8a6a;--foreign:#c9601f;--preference:#8455a8;--good:#1c7a4f;--bad:#b3261e}}
)css";

inline constexpr const char* chart_css = R"css(
svg text{font-size:11.5px;fill:var(--ink)}svg .axis{fill:var(--soft);font-size:11px}
svg .label{font-size:10px}svg .strong{font-weight:600}
.grid{stroke:var(--rule);stroke-width:.7}.rule{stroke:var(--soft);stroke-width:1}
.dash{stroke:var(--soft);stroke-width:1.2;stroke-dasharray:4 3;fill:none}
.leader{stroke:var(--soft);stroke-width:.6}.whisker{stroke:var(--soft);stroke-width:1.6}
.fill-own{fill:var(--own)}.fill-hinted{fill:var(--hinted)}.fill-foreign{fill:var(--foreign)}
.path{fill:none;stroke-width:1;stroke-opacity:.65}.thick{fill:none;stroke-width:2.2}
.line-own{stroke:var(--own)}.line-hinted{stroke:var(--hinted)}.line-foreign{stroke:var(--foreign)}
.shade{fill:var(--own);shape-rendering:crispEdges}
.dot{fill:var(--foreign);stroke:var(--paper);stroke-width:.5}
.point-foreign{fill:var(--foreign)}.point-own{fill:var(--hinted)}.point-online{fill:var(--own)}
.point-preference{fill:var(--preference)}.point-untouched{fill:var(--ink)}
circle{stroke:var(--paper);stroke-width:.8}
)css";

inline constexpr const char* page_css = R"css(
@media print{body{font-size:9.5pt!important;max-width:none!important;padding:0!important}
.scroll{overflow:visible!important}table{font-size:6.6pt!important}
th,td{padding:.12rem .25rem!important}td.wrap{min-width:0!important}
figure,.card,tr{break-inside:avoid}h2{break-after:avoid}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:70rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
h1{font-size:1.7rem;line-height:1.2;margin:1rem 0 .3rem}h2{font-size:1.2rem;margin:2.2rem 0 .4rem}
p{margin:.4rem 0;max-width:44rem}.soft,figcaption{color:var(--soft)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1.5rem}
figure{margin:.8rem 0}figcaption{font-size:.86rem;line-height:1.4;margin-top:.3rem}
figcaption b{color:var(--ink)}figure svg{width:100%;height:auto;display:block;max-width:34rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,13rem),1fr));gap:.7rem;
margin:1rem 0}.card{background:var(--card);border-radius:.5rem;padding:.7rem .9rem}
.card b{display:block;font-size:1.35rem;line-height:1.25}.card span{font-size:.86rem;color:var(--soft)}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.8rem;margin:.4rem 0;
font-variant-numeric:tabular-nums}th,td{padding:.22rem .4rem;text-align:right;white-space:nowrap;
border-bottom:1px solid var(--rule)}th{color:var(--soft);font-weight:600;vertical-align:bottom}
th:first-child,td:first-child,td.words,th.words{text-align:left}td.wrap{white-space:normal;
min-width:13rem;text-align:left}.good{color:var(--good)}.bad{color:var(--bad);font-weight:600}
code{font-family:ui-monospace,"DejaVu Sans Mono",Menlo,monospace;font-size:.95em;
overflow-wrap:anywhere}
.led{background:var(--card);border-radius:.5rem;padding:.8rem .9rem;line-height:2;max-width:44rem}
.led b{display:inline-block;min-width:5rem;font-weight:400;color:var(--soft)}
.led .teacher,.led .shared,.led .student{padding:.12rem .14rem;border-radius:.2rem;margin-right:1px}
.teacher{background:color-mix(in srgb,var(--foreign) 34%,transparent)}
.shared{background:color-mix(in srgb,var(--preference) 30%,transparent)}
.student{background:color-mix(in srgb,var(--own) 36%,transparent)}.key{font-size:.82rem;line-height:1.9}
.swatch{display:inline-block;width:.7em;height:.7em;border-radius:50%;margin:0 .25em 0 .6em}
)css";

/// A picture of the page as a file of its own, which follows the reader's light or dark.
[[nodiscard]] inline std::string standalone(const std::string& picture) {
  const std::string font =
      "svg{background:var(--paper);font-family:system-ui,-apple-system,"
      "\"Segoe UI\",Roboto,\"Liberation Sans\",sans-serif}";
  std::string file = picture;
  file.insert(5, "xmlns=\"http://www.w3.org/2000/svg\" ");
  file.insert(file.find('>') + 1,
              std::string("<style>") + colour_css + chart_css + font + "</style>");
  return file + "\n";
}

}  // namespace study
