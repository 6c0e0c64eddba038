// Command vhd makes VHD disk images, looks into them, checks them and copies their
// content, that of differencing disks above all.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// The exit codes.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// run is the whole command. It returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the first one ends the work tidily, the second at once
	return runContext(ctx, args, stdin, stdout, stderr)
}

func runContext(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	return report(stderr, cmd, err)
}

// app is what all verbs share: the flags that stand before any verb.
type app struct {
	root string // the directory that confines parents
}

// anywhere is the root that confines to nothing: any local path.
const anywhere = "/"

func (a *app) options() vhd.Options { return vhd.Options{Root: a.root} }

// open opens an image and its parents for reading.
func (a *app) open(name string) (*vhd.Disk, error) {
	opts := a.options()
	d, err := vhd.Open(name, &opts)
	return d, adviseFormat(name, err)
}

// check is what is wrong with the flags.
func (a *app) check() error {
	return inFile("--root "+a.root, mustBeDirectory(a.root))
}

func mustBeDirectory(name string) error {
	info, err := os.Stat(name)
	if err == nil && !info.IsDir() {
		err = errors.New("it is no directory")
	}
	return err
}

const usageTemplate = `Usage:
  {{if .HasParent}}{{.UseLine}}{{else}}vhd COMMAND{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Flags of all commands:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableSubCommands}}

{{.CommandPath}} COMMAND --help tells more of a command.{{end}}
`

func newCommand() *cobra.Command {
	a := &app{}
	cmd := &cobra.Command{
		Use:   "vhd",
		Short: "Make VHD disk images, look into them, copy their content",
		Long: `vhd makes VHD disk images, looks into them and copies their content.

A differencing disk holds only what changed since its parent, which stays as
it is: many small children share one large base. vhd follows a child to its
parents by the paths that are stored in it.

To see it all at work without any preparation: vhd demo`,
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
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	cmd.PersistentFlags().StringVar(&a.root, "root", anywhere, "open no parent outside `DIR`")
	cmd.AddCommand(infoCommand(a), createCommand(a), snapshotCommand(a), mergeCommand(a), compactCommand(a), resizeCommand(a), rebaseCommand(a), renameCommand(a), exportCommand(a), importCommand(), mapCommand(a), checkCommand(a), repairCommand(a), demoCommand())
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
	what := fmt.Sprintf("there is no command %q", args[0])
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		what += "; is it " + strings.Join(like, " or ") + "?"
	}
	return usageError{errors.New(what)}
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
