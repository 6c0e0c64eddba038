package vhd

import (
	"fmt"
	"iter"
	"slices"
	"strings"
)

// ParentRef is a reference to a parent, as a differencing disk holds it.
type ParentRef struct {
	Origin string // "W2ru", "W2ku", "Wi2r", "Wi2k", "MacX", "Mac ", or "header" for the dynamic header's name
	Path   string // as stored, decoded to UTF-8; empty: it could not be decoded
}

// storedRef is a ParentRef, taken apart.
type storedRef struct {
	ParentRef
	err  error      // why it could not be decoded
	path storedPath // with err too
	rank int        // the lowest is tried first: 0 is a relative W2ru
}

// ParentRefs returns every reference to a parent that the file holds, decoded,
// in the order in which they are tried: relative ones first, since a copied
// tree must find its own copy of a parent and not the original. It is empty
// for a disk that is not a differencing one.
func (m *Image) ParentRefs() []ParentRef {
	var refs []ParentRef
	for ref := range m.storedRefs() {
		refs = append(refs, ref.ParentRef)
	}
	return refs
}

const originHeader = "header"

// originOrder is the order in which references of equal standing are tried.
var originOrder = []string{W2ru.String(), MacX.String(), originHeader, W2ku.String(), Wi2r.String(), Wi2k.String(), Mac.String()}

// storedRefs yields the references in the order in which they are tried. Nearly
// always the first one leads to the parent, so the others are not even decoded
// before they are asked for.
func (m *Image) storedRefs() iter.Seq[storedRef] {
	return func(yield func(storedRef) bool) {
		if m.footer.Type != Differencing {
			return
		}
		first := slices.IndexFunc(m.locators, func(l locatorData) bool { return l.code == W2ru })
		if first >= 0 {
			if ref := newLocatorRef(m.locators[first]); ref.rank > 0 {
				first = -1 // an absolute one has no precedence
			} else if !yield(ref) {
				return
			}
		}
		for _, ref := range m.sortedRefs(first) {
			if !yield(ref) {
				return
			}
		}
	}
}

// sortedRefs are all references but that of locator without; -1: all.
func (m *Image) sortedRefs(without int) []storedRef {
	var refs []storedRef
	for i, l := range m.locators {
		if i != without {
			refs = append(refs, newLocatorRef(l))
		}
	}
	if name := m.header.ParentName.String(); name != "" {
		refs = append(refs, newStoredRef(originHeader, name, nil))
	}
	slices.SortStableFunc(refs, func(a, b storedRef) int { return a.rank - b.rank })
	return refs
}

func newLocatorRef(l locatorData) storedRef {
	path, err := l.path()
	return newStoredRef(l.code.String(), path, err)
}

func newStoredRef(origin, path string, err error) storedRef {
	ref := storedRef{ParentRef: ParentRef{origin, path}, err: err, path: storedPath{err: err}}
	if err == nil {
		ref.path = parseStoredPath(origin, path)
	}
	if ref.rank = slices.Index(originOrder, origin); ref.rank < 0 {
		ref.rank = len(originOrder)
	}
	if !ref.path.relative {
		ref.rank += len(originOrder) + 1
	}
	return ref
}

// storedPath is a path from a file, taken apart. It may have been written on
// Windows, on a Mac or here, and by an attacker.
type storedPath struct {
	relative   bool     // to the child's directory
	drive      string   // "C:", or empty
	components []string // without empty ones and "."; ".." only in front, and only of a relative path
	foreign    bool     // it names another machine: only its last components are of use
	err        error    // it must not be followed at all
}

// maxComponents bounds the work that a stored path can cause.
const maxComponents = 256

// parseStoredPath takes a path apart without asking any file system. Forms
// that name a server, a device or a stream never get as far as one: on Windows
// even a Stat of \\server\share sends the user's credentials there.
func parseStoredPath(origin, stored string) storedPath {
	path := stored
	if origin == MacX.String() {
		var err error
		if path, err = pathOfFileURL(stored); err != nil {
			return storedPath{err: err}
		}
	}
	path = strings.ReplaceAll(path, `\`, "/")
	p := storedPath{}
	switch {
	case path == "":
		return refuse("the path is empty")
	case strings.ContainsRune(path, 0):
		return refuse("the path contains a zero")
	case strings.HasPrefix(path, "//") || strings.HasPrefix(path, "/??/"):
		p.foreign = true
		path = strings.TrimLeft(path, "/")
	case len(path) >= 2 && path[1] == ':' && isLetter(path[0]):
		p.drive, path = path[:2], path[2:]
		if !strings.HasPrefix(path, "/") {
			return refuse("the path is relative to a drive's current directory")
		}
	default:
		p.relative = path[0] != '/'
	}
	return p.split(path)
}

// split takes path, without drive, into p's components.
func (p storedPath) split(path string) storedPath {
	p.components = make([]string, 0, min(strings.Count(path, "/")+1, maxComponents))
	for c := range strings.SplitSeq(path, "/") {
		switch {
		case c == "" || c == ".":
		case c == ".." && len(p.components) > 0 && p.components[len(p.components)-1] != "..":
			p.components = p.components[:len(p.components)-1]
		case c == ".." && !p.relative: // the root's parent is the root
		case p.foreign && (c == "?" || c == "??" || strings.HasSuffix(c, ":")):
		case strings.Contains(c, " ") && strings.Trim(c, ". ") == "": // Windows may take ".. " for ".."
			return refuse("the path has a component of dots and spaces")
		case strings.Contains(c, ":"):
			return refuse("the path names a stream or a device")
		case isDevice(c):
			return refuse("the path names a device")
		case len(p.components) == maxComponents:
			return refuse("the path has too many components")
		default:
			p.components = append(p.components, c)
		}
	}
	if len(p.components) == 0 || p.components[len(p.components)-1] == ".." {
		return refuse("the path names no file")
	}
	return p
}

func refuse(why string) storedPath {
	return storedPath{err: fmt.Errorf("%w: %s", ErrOutsideRoot, why)}
}

// isDevice says whether Windows takes a file's name for a device, in whatever
// directory and with whatever extension.
func isDevice(component string) bool {
	name, _, _ := strings.Cut(component, ".")
	name = strings.ToUpper(strings.TrimRight(name, " "))
	switch name {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	if len(name) < 4 || !strings.HasPrefix(name, "COM") && !strings.HasPrefix(name, "LPT") {
		return false
	}
	switch name[3:] {
	case "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³":
		return true
	}
	return false
}

// maxTail is how many of a foreign path's last components are tried in the
// child's directory.
const maxTail = 4

// candidates are the absolute, slash-separated names that a stored path may
// mean for a child in dir, most likely first. hasDrives says that names here
// start with a drive, as they do on Windows.
func (p storedPath) candidates(dir string, hasDrives bool) []string {
	if p.relative {
		return []string{joinName(dir, p.components)}
	}
	var names []string
	switch {
	case p.foreign:
	case hasDrives && p.drive == "":
		names = append(names, joinName(volumeOf(dir)+"/", p.components))
	case hasDrives == (p.drive != ""):
		names = append(names, joinName(p.drive+"/", p.components))
	}
	for n := 1; n <= min(maxTail, len(p.components)); n++ {
		names = append(names, joinName(dir, p.components[len(p.components)-n:]))
	}
	return names
}

// base is the file's own name.
func (p storedPath) base() string { return p.components[len(p.components)-1] }

// volumeOf is what an absolute, slash-separated name has in front of its first
// directory: on Windows a drive or a share, elsewhere nothing.
func volumeOf(name string) string {
	if len(name) >= 2 && name[1] == ':' {
		return name[:2]
	}
	if !strings.HasPrefix(name, "//") {
		return ""
	}
	server, rest, _ := strings.Cut(name[2:], "/")
	share, _, _ := strings.Cut(rest, "/")
	return "//" + server + "/" + share
}

// dirOf is the directory of an absolute, slash-separated name; of a volume's
// root, that root. Package path would make one slash of a share's two.
func dirOf(name string) string {
	volume := volumeOf(name)
	rest := name[len(volume):]
	last := strings.LastIndexByte(rest, '/')
	if last <= 0 {
		return volume + "/"
	}
	return volume + rest[:last]
}

// joinName is the name of what components lead to from the absolute dir. It
// never leaves the volume: the parent of its root is itself.
func joinName(dir string, components []string) string {
	volume := volumeOf(dir)
	at := make([]string, 1, 2+strings.Count(dir, "/")+len(components))
	at[0] = volume
	for c := range strings.SplitSeq(dir[len(volume):], "/") {
		if c != "" {
			at = append(at, c)
		}
	}
	for _, c := range components {
		switch c {
		case ".":
		case "..":
			at = at[:max(1, len(at)-1)]
		default:
			at = append(at, c)
		}
	}
	if len(at) == 1 {
		return volume + "/"
	}
	return strings.Join(at, "/")
}
