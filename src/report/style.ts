/** Of the page and of its charts. Colours are told apart by the colour-blind too (Okabe and Ito 2008), and never alone. */
export const style = `
:root{--page:#fff;--card:#f6f7f9;--ink:#16191d;--soft:#565d66;--rule:#d9dde2;--full:#6b7280;--r0:#0072b2;--r1:#007a5e;--r2:#a8558a;--r3:#2b9fd4;--r4:#8a7300;--c0:#d55e00;--c1:#b8860b;--c2:#9c3d00;--live:#0072b2;--finished:#5fb39a;--killed:#e3a07a;--pays:#00704f;--open:#8a5a00;--no:#b3261e}
@media (prefers-color-scheme:dark){:root{--page:#111418;--card:#1a1e24;--ink:#e8eaed;--soft:#a2aab4;--rule:#343b44;--full:#9aa3ae;--r0:#4db2f0;--r1:#2fc79c;--r2:#dc93c2;--r3:#8fd3f7;--r4:#d9c23c;--c0:#ff8a3d;--c1:#e0b040;--c2:#ffb27a;--live:#3793d1;--finished:#2f7d66;--killed:#9c5a33;--pays:#43cf9e;--open:#e0ac4a;--no:#ff8a80}}
@media print{:root{--page:#fff;--card:#fff;--ink:#000;--soft:#444;--rule:#bbb;--full:#6b7280;--r0:#0072b2;--r1:#007a5e;--r2:#a8558a;--r3:#2b9fd4;--r4:#8a7300;--c0:#d55e00;--c1:#b8860b;--c2:#9c3d00;--live:#0072b2;--finished:#5fb39a;--killed:#e3a07a;--pays:#00704f;--open:#8a5a00;--no:#b3261e;color-scheme:light}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1120px;margin:0 auto;padding:24px 20px 40px}
article+article{margin-top:48px;padding-top:32px;border-top:1px solid var(--rule)}
header{border-left:5px solid var(--tone);padding:2px 0 2px 18px;margin:0 0 24px}
.pays{--tone:var(--pays)}.open{--tone:var(--open)}.no{--tone:var(--no)}
h1,h2{font-size:clamp(1.45rem,3.4vw,2.1rem);line-height:1.2;margin:4px 0 12px;color:var(--tone);overflow-wrap:anywhere;text-wrap:balance}
h3{font-size:1.1rem;line-height:1.3;margin:0 0 4px}
p{margin:0 0 10px}
header ul,.others{margin:0;padding:0;list-style:none}
header li{margin:3px 0}
.others{margin:0 0 20px}
.others li{border-left:3px solid var(--tone);padding-left:12px;margin:8px 0;font-size:.92rem;overflow-wrap:anywhere}
.what,.note,section>p{color:var(--soft);font-size:.9rem;overflow-wrap:anywhere}
.sections{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:20px;margin:24px 0}
section{background:var(--card);border-radius:8px;padding:18px 18px 14px;min-width:0;display:flex;flex-direction:column}
figure{margin:6px 0 10px}
figure>svg{display:block;width:100%;height:auto;max-width:640px;margin:0 auto}
figcaption{display:flex;flex-wrap:wrap;gap:4px 16px;margin-top:8px;font-size:.85rem}
figcaption>span{display:inline-flex;align-items:center;gap:6px;min-width:0;overflow-wrap:anywhere}
figcaption svg{flex:none}
.table{overflow-x:auto;max-width:100%;position:relative}
.table:focus-visible{outline:2px solid var(--r0)}
table{border-collapse:collapse;width:100%;font-size:.82rem;font-variant-numeric:tabular-nums}
th,td{padding:4px 10px 4px 0;text-align:right;font-weight:400;white-space:nowrap;border-bottom:1px solid var(--rule)}
thead th{color:var(--soft);vertical-align:bottom;white-space:normal}
th:first-child,td:first-child{text-align:left}
tbody th{white-space:normal;overflow-wrap:break-word;min-width:6.5em;max-width:24em}
footer{border-top:1px solid var(--rule);padding-top:16px;font-size:.85rem;color:var(--soft)}
footer h3{color:var(--ink)}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:2px 16px;margin:8px 0 0}
dt{color:var(--ink)}dd{margin:0;overflow-wrap:anywhere}
svg text{font:11.5px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;fill:var(--soft)}
svg .axis{fill:var(--ink)}
svg .near{fill:var(--ink);font-size:10.5px}
.grid{stroke:var(--rule);stroke-width:.7}.base,.notch{stroke:var(--soft);stroke-width:1}
.full{--s:var(--full)}.live{--s:var(--live)}.finished{--s:var(--finished)}.killed{--s:var(--killed)}
.reject0{--s:var(--r0)}.reject1{--s:var(--r1)}.reject2{--s:var(--r2)}.reject3{--s:var(--r3)}.reject4{--s:var(--r4)}
.control0{--s:var(--c0)}.control1{--s:var(--c1)}.control2{--s:var(--c2)}
.phase0{--s:#8c96a3}.phase1{--s:var(--r0)}.phase2{--s:var(--r1)}.phase3{--s:var(--c0)}.phase4{--s:var(--r2)}.phase5{--s:var(--c1)}.phase6{--s:var(--r3)}.phase7{--s:var(--r4)}
.line{fill:none;stroke:var(--s);stroke-width:2;stroke-linejoin:round}
.thin{stroke-width:.8;opacity:.75}.strong{stroke-width:2.4}.dashed{stroke-dasharray:5 4}
.mark{fill:var(--s)}.mark.stroke{fill:none;stroke:var(--s);stroke-width:2.2}.mark.thin{stroke:none}.small.stroke{stroke-width:1.2}
.whisker{stroke:var(--s);stroke-width:1.3;opacity:.8}
.area{fill:var(--s)}
@media (max-width:560px){main{padding:16px 12px 32px}section{margin:0 -12px;border-radius:0;padding:16px 12px 12px}header{padding-left:12px}dl{grid-template-columns:minmax(0,1fr)}dd{margin-bottom:6px}}
@media print{body{font-size:10.5pt}main{max-width:none;padding:0}.sections{display:block}section{border-top:1px solid var(--rule);border-radius:0;padding:12px 0;break-inside:avoid}figure>svg{max-width:430px}.table{overflow:visible}header{break-after:avoid}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
`
