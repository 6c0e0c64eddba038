package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

func infoCommand(a *app) *cobra.Command {
	output := outputValue(outputHuman)
	var wholeChain bool
	cmd := &cobra.Command{
		Use:   "info [--output human|json] [--chain] FILE",
		Short: "Tell what an image is, and what it refers to",
		Long: `Tell what an image is: its type, its size, how much of it is allocated, and what
it refers to as its parent, which need not be there.

With --chain, tell it of the image and all its parents, which must be there.`,
		Example: `  vhd info alice.vhd
  vhd info --chain --output json alice.vhd`,
		Args: files("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if wholeChain {
				return runInfoChain(cmd, a, args[0], string(output))
			}
			return runInfo(a, args[0], string(output), cmd.OutOrStdout())
		},
		Aliases:               []string{"get", "inspect"},
		SuggestFor:            []string{"show", "query", "stat"},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().Var(&output, "output", outputUsage)
	cmd.Flags().BoolVar(&wholeChain, "chain", false, "tell of the parents too")
	cmd.Flags().BoolVar(&wholeChain, "backing-chain", false, "the same, as qemu-img has it")
	addFormat(cmd)
	a.addForceShare(cmd)
	return cmd
}

func runInfo(a *app, name, output string, stdout io.Writer) (err error) {
	d, inUse, err := openToLook(name, vhd.Options{NoParents: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	info, err := describe(d.Chain()[0], inUse)
	if err != nil {
		return err
	}
	if info.FormatSpecific.Data.DiskType == vhd.Differencing.String() {
		findParent(a, &info)
	}
	if output == outputJSON {
		return printJSON(stdout, info)
	}
	return printInfo(stdout, info)
}

func runInfoChain(cmd *cobra.Command, a *app, name, output string) error {
	infos, err := describeChain(cmd.Context(), a, name, cmd.ErrOrStderr())
	if err != nil {
		return orInterrupted(name, err, "nothing was told")
	}
	stdout := cmd.OutOrStdout()
	if output == outputJSON {
		return printJSON(stdout, infos)
	}
	for depth, info := range infos {
		if depth > 0 {
			fmt.Fprintln(stdout)
		}
		if err := printInfo(stdout, info); err != nil {
			return err
		}
	}
	return nil
}

// describeChain tells what is known of an image and its parents.
func describeChain(ctx context.Context, a *app, name string, stderr io.Writer) (infos []imageInfo, err error) {
	d, _, err := openToLook(name, a.options())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	var none workFlags // info has no -p: only what takes longer than a moment is told
	progress, end := none.progressIn("images", stderr, "info")
	defer end()
	for depth, img := range d.Chain() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		info, err := describe(img, isInUse(img.Name()))
		if err != nil {
			return nil, err
		}
		if depth > 0 {
			infos[depth-1].FullBackingFilename = img.Name()
		}
		if infos = append(infos, info); progress != nil {
			progress(int64(len(infos)), int64(len(d.Chain())))
		}
	}
	return infos, nil
}

// openToLook opens an image whose content nobody is going to read: another
// program may be writing it.
func openToLook(name string, opts vhd.Options) (d *vhd.Disk, inUse bool, err error) {
	d, err = vhd.Open(name, &opts)
	if errors.Is(err, vhd.ErrLocked) {
		opts.Lock, inUse = vhd.LockNone, true
		d, err = vhd.Open(name, &opts)
	}
	return d, inUse, adviseFormat(name, err)
}

// isInUse says whether another program is writing an image.
func isInUse(name string) bool {
	d, err := vhd.Open(name, &vhd.Options{NoParents: true})
	if err != nil {
		return errors.Is(err, vhd.ErrLocked)
	}
	_ = d.Close() // read-only
	return false
}

// findParent adds where the parent is, or why it can't be had. Either way the
// image itself has been told of.
func findParent(a *app, info *imageInfo) {
	opts := a.options()
	opts.Lock = vhd.LockNone
	d, err := vhd.Open(info.Filename, &opts)
	if err != nil {
		info.FormatSpecific.Data.ParentProblem = problem(err)
		return
	}
	info.FullBackingFilename = d.Chain()[1].Name()
	_ = d.Close() // read-only
}

// problem is in a few words why a chain can't be opened.
func problem(err error) string {
	if parent, ok := errors.AsType[*vhd.ParentError](err); ok {
		return parent.Child + ": " + bare(telling(parent).Error())
	}
	return bare(err.Error())
}

// describe tells what is known of an image.
func describe(img *vhd.Image, inUse bool) (imageInfo, error) {
	file, err := os.Stat(img.Name())
	if err != nil {
		return imageInfo{}, inFile(img.Name(), err)
	}
	footer := img.Footer()
	info := imageInfo{
		VirtualSize: footer.CurrentSize, Filename: img.Name(), Format: formatName,
		ActualSize: usedBytes(file), DirtyFlag: img.NeedsRecovery() && !inUse,
		FormatSpecific: formatSpecific{Type: formatName, Data: describeFooter(&footer)},
	}
	data := &info.FormatSpecific.Data
	data.FileSize, data.NeedsRecovery, data.InUse = img.FileSize(), info.DirtyFlag, inUse
	header, ok := img.Header()
	if !ok {
		return info, nil
	}
	allocated, err := img.AllocatedBlocks()
	if err != nil {
		return imageInfo{}, err
	}
	info.ClusterSize = header.BlockSize
	data.Blocks = &blockInfo{Allocated: allocated, Total: (footer.CurrentSize + header.BlockSize - 1) / header.BlockSize}
	if footer.Type == vhd.Differencing {
		info.describeParent(img, &header)
	}
	return info, nil
}

// describeParent adds what a differencing image says of its parent.
func (info *imageInfo) describeParent(img *vhd.Image, header *vhd.DynamicHeader) {
	data := &info.FormatSpecific.Data
	data.ParentID = header.ParentID.String()
	data.ParentTime = header.ParentTime
	info.BackingFormat = formatName
	for _, ref := range img.ParentRefs() {
		data.ParentReferences = append(data.ParentReferences, parentReference(ref))
		if info.BackingFilename == "" {
			info.BackingFilename = ref.Path
		}
	}
}

func printJSON(stdout io.Writer, v any) error {
	enc := json.NewEncoder(stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "    ")
	return enc.Encode(v)
}
