package vhd

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"
)

// RebasePlan is what a rebase would do.
type RebasePlan struct {
	ParentID uuid.UUID   // identifier of the new parent, which the leaf would record
	Refs     []ParentRef // paths that the leaf would have to it, a relative one first
	Copied   int64       // bytes of sectors that would be copied to the leaf; its file may grow by more
}

// PlanRebase finds out what [Disk.Rebase] would do with the disk as it is now. It
// changes nothing, and the disk may be open read-only. What would have to be copied is
// found as Rebase finds it, by reading; with opts.Unsafe, and for the parent of which only the
// path changes, that is nothing. Progress is told as by Rebase.
//
// Errors are those of Rebase, but for ErrReadOnly. With ErrNoSpace comes the whole plan.
func (d *Disk) PlanRebase(ctx context.Context, parent string, opts RebaseOptions) (RebasePlan, error) {
	if err := d.usable(); err != nil {
		return RebasePlan{}, err
	}
	end, err := d.beginChange(ctx)
	if err != nil {
		return RebasePlan{}, err
	}
	defer end()
	r := rebase{disk: d, opts: opts, view: d.view()}
	defer r.close()
	plan, err := r.plan(ctx, parent)
	return plan, d.opError(err)
}

func (r *rebase) plan(ctx context.Context, parent string) (plan RebasePlan, err error) {
	if err := ctx.Err(); err != nil {
		return plan, err
	}
	if err := r.prepare(parent); err != nil {
		return plan, err
	}
	plan.ParentID = r.ref.id
	if plan.Refs, err = r.refs(); err != nil {
		return plan, err
	}
	if r.needsCopy() {
		plan.Copied, err = r.countAll(ctx)
		if err != nil && !errors.Is(err, ErrNoSpace) {
			return plan, err
		}
	}
	r.progress(r.view.size)
	return plan, err
}

// refs are the paths that the leaf would have to the new parent.
func (r *rebase) refs() ([]ParentRef, error) {
	header := r.view.top().img.header
	paths, _, err := r.ref.placeIn(&header)
	if err != nil {
		return nil, err
	}
	var refs []ParentRef
	for _, p := range slices.Backward(paths) {
		path, err := p.code.DecodePath(p.data)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ParentRef{p.code.String(), path})
	}
	return refs, nil
}

// countAll counts the bytes of all sectors that read otherwise with the new parents, and is why there is
// not room for them.
func (r *rebase) countAll(ctx context.Context) (n int64, err error) {
	r.buf, r.other = make([]byte, bulkBuffer), make([]byte, bulkBuffer)
	err = r.count(ctx, r.progress, func(room *roomNeeded, window int64) error {
		return r.eachDiffering(window, func(p []byte, sector int64) error {
			n += int64(len(p))
			room.add(sector*SectorSize, int64(len(p)))
			return nil
		})
	})
	return n, err
}
