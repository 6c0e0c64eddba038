package main

import "html/template"

// reportStyle is what a report needs besides what all pages have.
const reportStyle = `:root{--bad:#b3261e;--doubtful:#9a6700;--card:#f6f8fa}
@media(prefers-color-scheme:dark){:root{--bad:#ff8a80;--doubtful:#d29922;--card:#1f2329}}
body{max-width:80rem}
h2{font-size:1.15rem;margin:2.2rem 0 .6rem;padding-bottom:.2rem;border-bottom:1px solid var(--rule)}
h3{font-size:1rem;margin:1.2rem 0 .4rem;overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.7rem;margin:1rem 0}
.tiles div{padding:.6rem .9rem;background:var(--card);border:1px solid var(--rule);border-radius:6px}
.tiles dt,.tiles .soft,.soft{color:var(--soft)}
.tiles dd{margin:0}
.tiles dd:not(.soft){font-size:1.5rem;font-weight:600}
.bad,.tiles .bad dd:not(.soft){color:var(--bad)}
.doubtful{color:var(--doubtful)}
.scroll{overflow-x:auto}
.images .name{min-width:7rem}
.remark{font-family:system-ui,sans-serif}
th,td{vertical-align:baseline}
.line{min-width:20rem}
code{font:12px ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.identifier{color:var(--soft);font-size:11px;white-space:nowrap}
ul{margin:.6rem 0;padding-left:1.2rem;overflow-wrap:anywhere}
details{margin:.6rem 0}
details[open]{margin-bottom:2rem}
summary{cursor:pointer;font:600 1rem ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.alike summary{font:inherit;color:var(--soft)}
`

// reportTemplate is the body of the page. Programs find its numbers in data attributes.
var reportTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"printable": printable, "size": humanSize, "counted": counted[int], "found": counted[int64],
}).Parse(reportSummary + reportImages + reportFindings + reportSpace + reportChains))

const reportSummary = `<p>{{.Tree.Summary}}</p>
{{range .Unread}}<p class="bad">✕ {{printable .}}</p>
{{end}}<dl class="tiles" id="summary" data-images="{{len .Images}}" data-trees="{{.Trees}}" data-orphans="{{.Orphans}}" data-unreadable="{{.Unreadable}}" data-changed-parents="{{.ChangedParents}}" data-file-size="{{.FileSize}}" data-actual-size="{{.ActualSize}}" data-corruptions="{{.Corruptions}}" data-leaks="{{.Leaks}}" data-notes="{{.Notes}}" data-bytes-compacting="{{.Compacting}}" data-bytes-merging="{{.Merging}}">
<div><dt>images</dt><dd>{{len .Images}}</dd><dd class="soft">in {{counted .Trees "tree" "trees"}}</dd></div>
<div{{if .Orphans}} class="bad"{{end}}><dt>without parent</dt><dd>{{.Orphans}}</dd><dd class="soft">{{if .ChangedParents}}{{.ChangedParents}} with a changed one, {{else}}and {{end}}{{if .Unreadable}}<span class="bad">{{.Unreadable}} unreadable</span>{{else}}0 unreadable{{end}}</dd></div>
<div><dt>on disk</dt><dd>{{size .ActualSize}}</dd><dd class="soft">in files of {{size .FileSize}}</dd></div>
<div{{if .Corruptions}} class="bad"{{end}}><dt>errors found</dt><dd>{{.Corruptions}}</dd><dd class="soft">{{found .Leaks "leak" "leaks"}}, {{found .Notes "note" "notes"}}</dd></div>
<div><dt>compacting gives back</dt><dd>{{size .Compacting}}</dd><dd class="soft">of file size, in {{counted (len .Compactable) "image" "images"}}</dd></div>
<div><dt>merging gives back</dt><dd>{{size .Merging}}</dd><dd class="soft">of file size, in {{counted .Mergeable "chain" "chains"}}</dd></div>
</dl>
`

const reportImages = `{{if .Images}}<h2>Trees</h2>
<figure>
{{.Tree.Figure}}</figure>
{{with .Hints}}<ul>
{{range .}}<li>{{printable .}}</li>
{{end}}</ul>
{{end}}<h2>Images</h2>
<div class="scroll">
<table class="images" id="images">
<thead><tr><th>image</th><th>type</th><th class="number">virtual size</th><th class="number">file size</th><th class="number">on disk</th><th class="number">blocks</th><th>parent</th><th>findings</th></tr></thead>
<tbody>
{{range .Images}}<tr data-file="{{printable .Filename}}" data-disk-type="{{.DiskType}}" data-virtual-size="{{.VirtualSize}}" data-file-size="{{.FileSize}}" data-actual-size="{{.ActualSize}}"{{with .Blocks}} data-allocated="{{.Allocated}}" data-total="{{.Total}}"{{end}} data-unique-id="{{.UniqueID}}" data-in-use="{{.InUse}}" data-corruptions="{{.Errors}}" data-leaks="{{.Leaks}}" data-notes="{{.Notes}}"{{with .CompactedSize}} data-compacted-size="{{.}}"{{end}}>
<td class="name">{{printable .Shown}}{{if .Remarks}}<br><span class="remark {{.RemarkClass}}">{{.RemarkMark}}{{printable .Remarks}}</span>{{end}}{{with .UniqueID}}<br><code class="identifier">{{.}}</code>{{end}}</td>
{{if .Error}}<td></td><td></td>{{else}}<td>{{.DiskType}}</td><td class="number">{{size .VirtualSize}}</td>{{end}}<td class="number">{{size .FileSize}}</td><td class="number used">{{size .ActualSize}}</td><td class="number">{{with .Blocks}}{{.Allocated}} of {{.Total}}{{end}}</td>
<td class="name">{{with .Parent}}{{printable .}}{{else}}{{with .ParentProblem}}<span class="remark bad">✕ {{printable .}}</span>{{end}}{{end}}</td>
<td>{{.FindingWords}}{{if .CheckProblem}}{{if .Findings}}, {{end}}<span class="bad">not {{if .Findings}}all {{end}}checked</span>{{end}}</td></tr>
{{end}}</tbody>
</table>
</div>
{{end}}`

const reportFindings = `<h2>Findings</h2>
{{range .Found}}<h3 class="name">{{printable .Shown}}</h3>
{{if .CheckProblem}}<p class="bad">✕ {{if .Findings}}Not all of it{{else}}It{{end}} could not be checked: {{printable .CheckProblem}}</p>
{{end}}{{with .Findings}}<table class="findings">
<thead><tr><th>severity</th><th>code</th><th>where</th><th class="number">offset</th><th>what</th></tr></thead>
<tbody>
{{range .}}<tr{{template "findingTags" .}}>{{template "finding" .}}</tr>
{{end}}</tbody>
</table>
{{end}}{{with .Alike}}<details class="alike">
<summary>{{counted (len .) "more image has" "more images have"}} the same findings</summary>
<table class="findings">
<thead><tr><th>image</th><th>severity</th><th>code</th><th>where</th><th class="number">offset</th><th>what</th></tr></thead>
<tbody>
{{range .}}{{$image := .}}{{range .Findings}}<tr{{template "findingTags" .}}><td class="name">{{printable $image.Shown}}</td>{{template "finding" .}}</tr>
{{end}}{{end}}</tbody>
</table>
</details>
{{end}}{{else}}<p>Nothing was found.</p>
{{end}}{{define "findingTags"}} data-image="{{printable .Image}}" data-code="{{.Code}}" data-severity="{{.Severity}}" data-offset="{{.Offset}}"{{end}}{{define "finding"}}<td{{if eq .Severity.String "error"}} class="bad"{{end}}>{{.Severity}}</td><td><code>{{.Code}}</code></td><td>{{.Structure}}</td><td class="number">{{.Offset}}</td><td>{{printable .Message}}</td>{{end}}`

const reportSpace = `<h2>What can be given back</h2>
<h3>Compacting</h3>
{{with .Compactable}}<table class="compacting">
<thead><tr><th>image</th><th class="number">file size</th><th class="number">would be</th><th class="number">given back</th><th>command</th></tr></thead>
<tbody>
{{range .}}<tr data-file="{{printable .Filename}}" data-bytes-before="{{.FileSize}}" data-bytes-after="{{.CompactedSize}}"><td class="name">{{printable .Shown}}{{if .InUse}}<br><span class="remark soft">in use</span>{{end}}</td><td class="number">{{size .FileSize}}</td><td class="number">{{size .CompactedSize}}</td><td class="number">{{size .GivenBack}}</td><td class="line"><code>{{printable .CompactLine}}</code></td></tr>
{{end}}</tbody>
</table>
{{else}}<p>Nothing that is known.</p>
{{end}}{{with .Unmeasured}}<p>Of these it can not be told:</p>
<ul>
{{range .}}<li><span class="name">{{printable .Shown}}</span> <span class="bad">✕ {{printable .CompactProblem}}</span></li>
{{end}}</ul>
{{end}}<h3>Merging</h3>
{{with .Merges}}<p>Images that nothing else in the folder needs as they are can be folded into the one below them, which then reads as all of them did; their files are removed, and there is no way back to the state that each of them keeps. Where it was a disk that a machine uses, the last image takes its place. Images in other folders may need them too, and are not known here; machines in saved state keep theirs. All of these can be done in this order.</p>
<table class="merging">
<thead><tr><th>images, the last one receives</th><th class="number">file sizes</th><th class="number">would be</th><th class="number">given back</th><th>command</th></tr></thead>
<tbody>
{{range .}}<tr data-file="{{printable .Filename}}" data-into="{{printable .Into}}" data-bytes-before="{{.Before}}"{{with .After}} data-bytes-after="{{.}}"{{end}}><td class="name">{{printable .Steps}}{{if .IsInUse}}<br><span class="remark soft">in use</span>{{end}}</td><td class="number">{{size .Before}}</td>{{if .Problem}}<td colspan="3" class="bad">✕ {{printable .Problem}}</td>{{else}}<td class="number">{{size .After}}</td><td class="number">{{size .GivenBack}}</td><td class="line"><code>{{printable .Command}}</code></td>{{end}}</tr>
{{end}}</tbody>
</table>
{{else}}<p>No image can be folded into its parent: those that have any have several children, or belong to a machine in saved state.</p>
{{end}}`

const reportChains = `{{if .Chains}}<h2>What each disk is made of</h2>
{{range .Chains}}<details{{if $.AreFew}} open{{end}}>
<summary>{{.Name}}</summary>
{{with .Problem}}<p class="bad">✕ {{printable .}}</p>
{{end}}{{.Map}}</details>
{{end}}{{with .Undrawn}}<p>Of {{counted . "more disk" "more disks"}} there is no map here: vhd map --html draws one.</p>
{{end}}{{end}}`
