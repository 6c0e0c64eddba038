package vhd

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// PlanImport is how many bytes the file called name will have that [Create] makes with these
// options, when [Disk.Import] has made the first size bytes of its disk those of r and the disk is
// closed. That is exact of a fixed disk, and of blocks of 4 KiB to 2 MiB; with others, how the file grows
// decides over some pages of 4 KiB more or less. It reads r, and changes nothing. Errors are those of both, as far as they show
// beforehand. A parent is [fs.ErrInvalid]: what comes of zeros over its data is not known here.
func PlanImport(ctx context.Context, name string, create CreateOptions, r io.ReaderAt, size int64, opts ImportOptions) (int64, error) {
	p := importPlan{creation: creation{name: name, opts: &create}, from: r, size: size, progress: opts.Progress}
	n, err := p.run(ctx)
	return n, inFile(name, err)
}

// importPlan is one on its way.
type importPlan struct {
	creation
	from     io.ReaderAt
	size     int64
	progress func(done, total int64)

	data    int64 // bytes that are not zeros
	nblocks int64 // with data in them
	counted int64 // in front of this block all are
}

func (p *importPlan) run(ctx context.Context) (int64, error) {
	if p.opts.Parent != "" {
		return 0, fmt.Errorf("%w: an import over the parent %s is not planned", fs.ErrInvalid, p.opts.Parent)
	}
	if err := p.describe(); err != nil {
		return 0, err
	}
	if p.size < 0 || p.size > p.image.size {
		return 0, ErrOutOfRange
	}
	dir, err := p.directory()
	if err == nil {
		err = dir.isFree()
	}
	if err == nil {
		err = p.read(ctx)
	}
	if err != nil {
		return 0, err
	}
	return p.fits(dir)
}

// read finds out which blocks there will be.
func (p *importPlan) read(ctx context.Context) error {
	defer keepPosition(p.from)()
	unit := int64(holeUnit)
	if p.image.diskType != Fixed {
		unit = min(unit, p.image.blockSize)
	}
	buf := make([]byte, bulkBuffer)
	var pieces []Extent
	for off := int64(0); off < p.size; off += windowSize {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		end := min(off+windowSize, p.size)
		if pieces, err = appendData(pieces[:0], p.from, off, end, unit, buf); err != nil {
			return err
		}
		for _, e := range pieces {
			p.add(e)
		}
		if p.progress != nil {
			p.progress(end, p.size)
		}
	}
	return nil
}

func (p *importPlan) add(e Extent) {
	first, end := e.Offset/p.image.blockSize, (e.Offset+e.Length-1)/p.image.blockSize+1
	p.data += e.Length
	p.nblocks += max(0, end-max(first, p.counted))
	p.counted = end
}

// fits is how large the file will be, or why there is no room for it in the directory.
func (p *importPlan) fits(dir directory) (n int64, err error) {
	l, err := p.image.layout()
	if err != nil {
		return 0, err
	}
	takes := p.data + footerSize // of a fixed disk all else may be a hole
	if p.image.diskType == Fixed {
		n = p.image.size + footerSize
	} else {
		n = l.footerOff(p.nblocks) + footerSize
		takes = l.tableEnd + p.nblocks*l.blocks.blockBytes() + footerSize
	}
	if p.mayTakeLess(dir) {
		return n, nil
	}
	return n, p.opts.checkRoom(p.name, takes)
}

// mayTakeLess says that nobody knows how little room the content takes in the directory.
func (p *importPlan) mayTakeLess(dir directory) bool {
	if p.opts.FS != nil {
		return false
	}
	f, err := os.Open(filepath.FromSlash(dir.dir))
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // read-only
	_, isFile := p.from.(*os.File)
	return packsData(f) || isFile && sharesData(f)
}
