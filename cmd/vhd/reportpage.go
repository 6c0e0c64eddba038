package main

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/go-vhd/vhd/cmd/vhd/internal/picture"
)

// reportPage is the page of a report.
type reportPage struct {
	*folderReport
	survey *survey
	Tree   picture.Tree
	Hints  []string // what mends the trees
	Unread []string // why folders can't be read
}

// mapID is what the identifiers of the nth map in a page begin with.
func mapID(nth int) string { return fmt.Sprintf("map%d-", nth) }

// html is the page.
func (p *reportPage) html() ([]byte, error) {
	var body, page strings.Builder
	if err := reportTemplate.Execute(&body, p); err != nil {
		return nil, err
	}
	err := picture.Page{
		Title: p.Tree.Title + ": a report of its images", Heading: p.Tree.Title,
		Style: reportStyle, Body: template.HTML(body.String()), // the template has escaped it
	}.Write(&page)
	return []byte(page.String()), err
}

// lines tell people what is in the page.
func (p *reportPage) lines(out string) []string {
	lines := []string{
		out + ": a report of " + p.survey.count(),
		"findings: " + p.FindingWords(),
	}
	if p.Compacting > 0 {
		lines = append(lines, "compacting would give back "+humanSize(p.Compacting)+" of file size")
	}
	if p.Merging > 0 {
		lines = append(lines, "merging would give back "+humanSize(p.Merging)+" of file size")
	}
	if n := p.Undrawn(); n > 0 {
		lines = append(lines, fmt.Sprintf("maps: of the first %d disks; vhd map --html draws those of the %d others", maxMaps, n))
	}
	return lines
}

// FindingWords say how many findings there are.
func (p *reportPage) FindingWords() string {
	if words := severityWords(p.Corruptions, p.Leaks, p.Notes); words != "" {
		return words
	}
	return "none"
}

// Chains are the disks with their maps.
func (p *reportPage) Chains() []chainMap { return p.survey.chains }

// maxOpen is how many maps a reader sees at once. More are to be opened one by one.
const maxOpen = 8

// AreFew says whether a reader sees all maps at once.
func (p *reportPage) AreFew() bool { return len(p.survey.chains) <= maxOpen }

// Undrawn is how many disks have no map, since there are too many.
func (p *reportPage) Undrawn() int { return p.survey.undrawn }

// foundImage is an image of which a check has something to say, and those of which it says the same.
type foundImage struct {
	*imageReport
	Alike []*imageReport
}

// Found are the images of which a check has something to say, each with those behind it that have
// findings of the same kinds: images that one program made have mostly the same oddities.
func (p *reportPage) Found() (found []*foundImage) {
	first := map[string]*foundImage{}
	for _, r := range p.Images {
		kinds := r.kinds()
		switch {
		case len(r.Findings) == 0 && r.CheckProblem == "":
		case r.CheckProblem == "" && first[kinds] != nil:
			first[kinds].Alike = append(first[kinds].Alike, r)
		default:
			one := &foundImage{imageReport: r}
			found = append(found, one)
			if r.CheckProblem == "" {
				first[kinds] = one
			}
		}
	}
	return found
}

// kinds are the codes of an image's findings.
func (r *imageReport) kinds() string {
	var codes []string
	for _, f := range r.Findings {
		codes = append(codes, f.Code)
	}
	return strings.Join(codes, " ")
}

// Compactable are the images that compacting makes smaller, first those that give back the
// most.
func (p *reportPage) Compactable() (images []*imageReport) {
	for _, r := range p.Images {
		if r.GivenBack() > 0 {
			images = append(images, r)
		}
	}
	slices.SortStableFunc(images, func(a, b *imageReport) int { return cmp.Compare(b.GivenBack(), a.GivenBack()) })
	return images
}

// Unmeasured are the images of which nobody knows what compacting would do.
func (p *reportPage) Unmeasured() (images []*imageReport) {
	for _, r := range p.Images {
		if r.CompactProblem != "" {
			images = append(images, r)
		}
	}
	return images
}

// Mergeable is how many runs of images a merge makes smaller.
func (p *reportPage) Mergeable() (n int) {
	for _, f := range p.Merges {
		if f.GivenBack() > 0 {
			n++
		}
	}
	return n
}

// Shown is an image's name as seen from the folder.
func (r *imageReport) Shown() string { return r.node.name }

// Parent is where the parent is, as seen from the folder; empty: it is not to be had.
func (r *imageReport) Parent() string { return r.parent }

// Remarks are what is special about an image.
func (r *imageReport) Remarks() string {
	if r.InUse && r.node.note == "" {
		return "in use"
	}
	if r.InUse {
		return "in use, " + r.node.note
	}
	return r.node.note
}

// RemarkMark is the sign in front of the remarks.
func (r *imageReport) RemarkMark() string { return r.node.mark() }

// RemarkClass is how grave the remarks are.
func (r *imageReport) RemarkClass() string {
	switch {
	case r.node.broken:
		return "bad"
	case r.node.hasChangedParent():
		return "doubtful"
	}
	return "soft"
}

// FindingWords say how many findings there are; none: empty.
func (r *imageReport) FindingWords() string {
	return severityWords(r.Errors(), r.Leaks(), r.Notes())
}

// CompactLine is the command that compacts it.
func (r *imageReport) CompactLine() string { return "vhd compact " + quote(r.Filename) }

// maxSteps is how many images of a run are named.
const maxSteps = 4

// Steps are the images that are folded, in words.
func (f *fold) Steps() string {
	var names []string
	for _, n := range f.run {
		names = append(names, n.name)
	}
	if last := len(names) - 1; last >= maxSteps {
		names = []string{names[0], fmt.Sprintf("%d more", last-1), names[last]}
	}
	return strings.Join(names, " → ")
}

// IsInUse says whether another program is writing one of them.
func (f *fold) IsInUse() bool { return f.inUse }
