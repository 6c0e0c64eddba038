// Command vhd makes VHD disk images, looks into them, checks them and copies their
// content, that of differencing disks above all.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// The exit codes.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2

	exitInterrupted = 130 // as a shell says it of what Ctrl-C ends
)

// run is the whole command. It returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return interruptible(args, stderr, func(ctx context.Context) int {
		return runContext(ctx, args, stdin, stdout, stderr)
	})
}

func runContext(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newCommand()
	root.SetArgs(args)
	root.Annotations = map[string]string{typedWords: strings.Join(args, noWord)}
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := withoutVerb(root, args); err != nil {
		return report(stderr, root, err)
	}
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	return report(stderr, cmd, err)
}

// app is what all verbs share: what says how images are opened.
type app struct {
	root       string // the directory that confines parents
	forceShare bool   // of verbs that only read: no image is locked
}

// anywhere is the root that confines to nothing: any local path.
const anywhere = "/"

func (a *app) options() vhd.Options { return vhd.Options{Root: a.root, Lock: a.lock()} }

// open opens an image and its parents for reading.
func (a *app) open(name string) (*vhd.Disk, error) {
	opts := a.options()
	d, err := vhd.Open(name, &opts)
	return d, adviseFormat(name, err)
}

// check is what is wrong with the flags.
func (a *app) check() error {
	err := inFile("--root "+a.root, mustBeDirectory(a.root))
	if err != nil && exists(a.root) {
		return hintedError{err, "name the directory that holds all the parents: --root " + quote(filepath.Dir(a.root))}
	}
	return adviseMissing(a.root, err)
}

func mustBeDirectory(name string) error {
	info, err := os.Stat(name)
	if err == nil && !info.IsDir() {
		err = errors.New("it is no directory")
	}
	return err
}

func newCommand() *cobra.Command {
	a := &app{}
	cmd := &cobra.Command{
		Use:   "vhd",
		Short: "Make VHD disk images, look into them, copy their content",
		Long: `vhd makes VHD disk images, looks into them and copies their content.

A differencing disk holds only what changed since its parent, which stays as
it is: many small children share one large base. vhd follows a child to its
parents by the paths that are stored in it.

To see it all at work without any preparation: vhd demo

Sizes are bytes, or have K, M, G or T behind the number. What takes longer than a
second tells on a terminal how far it is. Ctrl-C leaves valid images, and what is
said then tells what is left to do. A second one does not wait for a safe place.

The exit code is 0 if all went well, 1 if not, 2 if the command line can not be
understood, and 130 if Ctrl-C ended the work. That of vhd check and of vhd repair
tells of the image, too.`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          runNoVerb,
		Args:          cobra.ArbitraryArgs,

		PersistentPreRunE: func(*cobra.Command, []string) error { return a.check() },

		SuggestionsMinimumDistance: 2,
		DisableFlagsInUseLine:      true,
	}
	cmd.SetUsageTemplate(usageTemplate)
	cmd.SetVersionTemplate("vhd {{.Version}}\n")
	cmd.SetFlagErrorFunc(wrongFlag)
	cmd.SetHelpCommand(helpCommand())
	cmd.CompletionOptions.DisableDefaultCmd = true // there is one of our own
	cmd.PersistentFlags().StringVar(&a.root, "root", anywhere, "open no parent outside `DIR`")
	cmd.AddCommand(infoCommand(a), lsCommand(a), createCommand(a), snapshotCommand(a), mergeCommand(a), compactCommand(a), resizeCommand(a), rebaseCommand(a), renameCommand(a), exportCommand(a), importCommand(), convertCommand(a), compareCommand(a), diffCommand(a), measureCommand(a), mapCommand(a), checkCommand(a), repairCommand(a), reportCommand(a), demoCommand(), completionCommand(), manCommand())
	addQemuFlags(cmd)
	completeArguments(cmd)
	return cmd
}

// runNoVerb answers a command line whose verb is missing or unknown.
func runNoVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		cmd.SetOut(cmd.ErrOrStderr())
		if err := cmd.Help(); err != nil {
			return err
		}
		return usageError{nil}
	}
	if exists(args[0]) {
		return usageErrorf("the command goes in front of the file: %s", typed(verbFirst(cmd, args)))
	}
	return noSuchCommand(cmd, args[0])
}

// verbFirst is a command line that begins with a file as it should be: without a verb in it, the
// one that does no harm.
func verbFirst(cmd *cobra.Command, args []string) []string {
	if len(args) > 1 {
		if verb, _, err := cmd.Find(args[1:]); err == nil && verb != cmd {
			return append([]string{args[1], args[0]}, args[2:]...)
		}
	}
	return []string{"info", args[0]}
}

// someFiles is that of a verb that takes one file's name or more.
func someFiles(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		return files(slices.Repeat([]string{name}, max(1, len(args)))...)(cmd, args)
	}
}

// files is the check of a verb's arguments, each of which is a file's name.
func files(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usageErrorf("%s is missing", names[len(args)])
		}
		if len(args) > len(names) {
			return usageErrorf("%q is one argument too many", args[len(names)])
		}
		for i, arg := range args {
			if arg == "" {
				return usageErrorf("%s is empty", names[i])
			}
			if os.IsPathSeparator(arg[len(arg)-1]) {
				return usageErrorf("%s is %q, a directory", names[i], arg)
			}
		}
		return nil
	}
}

// version is what the build knows: a released version, or the commit.
func version() string {
	build, ok := debug.ReadBuildInfo()
	if !ok || build.Main.Version == "" {
		return "(unknown) " + runtime.Version()
	}
	return build.Main.Version + " " + runtime.Version()
}
