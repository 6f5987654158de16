"""The fixed part of the page: its style, and the words that explain it."""

CSS = """
:root { --ink:#1b1f24; --faint:#59636e; --paper:#fff; --line:#d5dae0; --soft:#f4f6f8;
  --good:#116329; --bad:#a40e26; --link:#0550ae;
  --ours:#0b3d6b; --reference:#f0a860; --allowed:#a40e26;
  --u0:#eef0f2; --u1:#e8f1fb; --u2:#d3e4f6; --u3:#b7d3ef; --u4:#93bce4; --u5:#6aa0d6;
  --u6:#2f6fb3; --u7:#174a82; --on-low:#10151a; --on-high:#fff; --u8:#a40e26; --on-bad:#fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink:#e6e9ed; --faint:#a3adb8; --paper:#14171b; --line:#3a414a; --soft:#1d2126;
    --good:#6fdd8b; --bad:#ff8f85; --link:#8ec3ff;
    --ours:#9fd0ff; --reference:#b8692a; --allowed:#ff8f85;
    --u0:#23272c; --u1:#1b2838; --u2:#1d344e; --u3:#1f4265; --u4:#21517f; --u5:#24619b;
    --u6:#7db4ea; --u7:#bcdcfb; --on-low:#f2f5f8; --on-high:#0a1420; --u8:#ff8f85;
    --on-bad:#2b0503; } }
* { box-sizing:border-box; }
body { margin:0; background:var(--paper); color:var(--ink);
  font:16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width:76rem; margin:0 auto; padding:1.5rem 1rem 4rem; }
h1 { font-size:1.5rem; margin:0 0 .5rem; } h2 { font-size:1.2rem; margin:2.5rem 0 .5rem; }
h3 { font-size:1rem; margin:0 0 .25rem; }
p, li { max-width:48rem; overflow-wrap:anywhere; } p { margin:.5rem 0; } a { color:var(--link); }
.verdict { font-size:1.25rem; font-weight:600; }
.good { color:var(--good); } .bad { color:var(--bad); font-weight:600; }
.numbers { display:grid; gap:1px; margin:1rem 1px;
  grid-template-columns:repeat(auto-fit, minmax(9.5rem, 1fr)); }
.numbers div { display:flex; flex-direction:column-reverse; justify-content:flex-end;
  outline:1px solid var(--line); padding:.6rem .8rem; }
.numbers dt { color:var(--faint); font-size:.85rem; line-height:1.3; }
.numbers dd { margin:0; font-size:1.35rem; font-variant-numeric:tabular-nums; }
.wide { overflow-x:auto; }
table { border-collapse:collapse; font-size:.875rem; font-variant-numeric:tabular-nums; }
th, td { padding:.22rem .6rem; text-align:right; white-space:nowrap;
  border-bottom:1px solid var(--line); }
thead th { color:var(--faint); font-weight:500; vertical-align:bottom; }
th[scope=colgroup] { text-align:center; }
th[scope=row], th[scope=rowgroup], thead tr:first-child th:first-child { text-align:left; z-index:1;
  position:sticky; left:0; background:var(--paper); }
th[scope=row] { font-weight:400; } th[scope=rowgroup] { font-weight:600; padding-top:.8rem; }
.verdict-cell { text-align:left; }
.apart { padding-left:1.6rem; }
.heat td.apart { border-left-width:1.2rem; padding-left:.6rem; }
.heat td { text-align:right; min-width:4.6rem; border:1px solid var(--paper); }
.heat th { border-bottom-color:var(--paper); }
.none { color:var(--faint); }
.u0 { background:var(--u0); } .u1 { background:var(--u1); } .u2 { background:var(--u2); }
.u3 { background:var(--u3); } .u4 { background:var(--u4); } .u5 { background:var(--u5); }
.u0, .u1, .u2, .u3, .u4, .u5 { color:var(--on-low); }
.u6 { background:var(--u6); } .u7 { background:var(--u7); } .u6, .u7 { color:var(--on-high); }
.u8 { background:var(--u8); color:var(--on-bad); font-weight:700; }
.legend { list-style:none; display:flex; flex-wrap:wrap; padding:0; margin:.75rem 0;
  font-size:.8rem; }
.legend li { padding:.15rem .6rem; }
details { margin-top:1rem; } summary { cursor:pointer; }
.details td, .plain td { text-align:left; white-space:normal; overflow-wrap:anywhere; }
.details td { min-width:9rem; vertical-align:top; } .details td:nth-child(2) { min-width:0; }
.plain th { vertical-align:top; padding-left:0; color:var(--faint); }
.figures { display:grid; gap:1.5rem; margin-top:1rem;
  grid-template-columns:repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); }
figure { margin:0; } figure svg { width:100%; height:auto; display:block; }
figcaption { color:var(--faint); font-size:.85rem; }
article { border-left:4px solid var(--bad); padding-left:.9rem; margin:1.2rem 0; }
pre { background:var(--soft); padding:.7rem; white-space:pre-wrap; overflow-wrap:anywhere;
  font-size:.82rem; margin:.4rem 0; }
code { font-size:.9em; overflow-wrap:anywhere; }
@media (max-width:30rem) { main { padding:1rem .75rem 3rem; } th, td { padding:.2rem .4rem; }
  th[scope=row] { white-space:normal; min-width:7.5rem; } }
"""

HOW_TO_READ = """<section id="read"><h2>How to read this</h2>
<p>Every technique stands here twice: written by hand in NumPy, and as PyTorch has it. The suite
gives both the same weights, inputs and random incoming gradients and compares every array that
comes out. Two right programs still differ by rounding, so each comparison has a budget, and the
numbers on this page are shares of it:</p>
<ul>
<li><b>float64.</b> The reference runs again with every input moved by one unit in the last place.
The budget is 16 times (that movement, plus machine epsilon times the largest value).</li>
<li><b>float32.</b> The truth is the reference in float64 on the same numbers. The budget is 4 times
PyTorch's own float32 error, plus 4 units in the last place.</li>
<li><b>Up to 1</b> the two agree; 0.1 means that ten times as much would have passed;
<b>equal</b> means to the last bit. <b>wrong</b> has no number: another shape, another dtype, NaN in
another place, or a problem so ill-conditioned that nothing could be told.</li>
</ul>
<p>No budget was set by hand. The kinds of comparison: <b>forward</b> is what comes out;
<b>gradient</b> is of every input and every parameter; <b>buffer</b> is what a module keeps beside
its parameters; <b>step</b> is what changes along a run, such as parameters, optimizer state and
losses. The table counts everything that is neither forward nor gradient as a step.</p>
<p><b>Rules</b> are checks without a difference: inputs left as they were, a second backward
refused, bad arguments refused by both sides, state loaded across, a slope by finite differences,
and that each of the wrong-on-purpose variants of a technique is caught.</p>
</section>"""
