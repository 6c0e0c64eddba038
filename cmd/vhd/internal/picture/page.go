package picture

import (
	"html/template"
	"io"
)

// Page is a page of HTML that needs nothing but itself: no other file, no network, no
// scripts.
type Page struct {
	Title   string
	Heading string
	Style   template.CSS // what the body needs besides
	Body    template.HTML
}

// Write writes the page.
func (p Page) Write(w io.Writer) error { return pageTemplate.Execute(w, p) }

// The policy keeps a browser from running, or fetching, anything, whatever names say.
var pageTemplate = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{{.Title}}</title>
<style>
:root{color-scheme:light dark;--ink:#1f2328;--soft:#59636e;--page:#fff;--rule:#d1d9e0;--bar:#8c959f}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--page:#16191d;--rule:#30363d;--bar:#7d8590}}
body{margin:1.5rem auto;max-width:71rem;padding:0 1rem;font:14px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--page)}
h1{font-size:1.4rem;margin:0;overflow-wrap:anywhere}
p{color:var(--soft);margin:.3rem 0 1rem}
figure{margin:0 0 1.5rem;overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th{text-align:left;font-weight:600;color:var(--soft)}
th,td{padding:.2rem .8rem .2rem 0;border-bottom:1px solid var(--rule);vertical-align:top}
.number{text-align:right;white-space:nowrap}
.name{font-family:ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.key{display:inline-block;box-sizing:border-box;min-width:2.2em;padding:0 .3em;text-align:center}
.none{background:#0d1117;color:#f0f3f6;border:1px solid #59626d}
.bar{width:9rem}
.bar i{display:block;height:.7em;margin-top:.35em;background:var(--bar)}
{{.Style}}</style>
</head>
<body>
<h1>{{.Heading}}</h1>
{{.Body}}
</body>
</html>
`))
