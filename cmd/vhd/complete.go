package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/go-vhd/vhd"
)

// shells are those that vhd completion knows, and what writes its script.
var shells = []struct {
	name  string
	write func(root *cobra.Command) error
}{
	{"bash", func(root *cobra.Command) error { return root.GenBashCompletionV2(root.OutOrStdout(), true) }},
	{"zsh", func(root *cobra.Command) error { return root.GenZshCompletion(root.OutOrStdout()) }},
	{"fish", func(root *cobra.Command) error { return root.GenFishCompletion(root.OutOrStdout(), true) }},
	{"powershell", func(root *cobra.Command) error { return root.GenPowerShellCompletionWithDesc(root.OutOrStdout()) }},
}

func completionCommand() *cobra.Command {
	var names []cobra.Completion
	for _, shell := range shells {
		names = append(names, shell.name)
	}
	return &cobra.Command{
		Use:   "completion {bash|zsh|fish|powershell}",
		Short: "Write what lets a shell complete commands of vhd",
		Long: `Write what lets a shell complete commands of vhd, its flags, and the names of
images. The examples say where each shell looks for it; bash needs the package
bash-completion. In PowerShell, put the last line into your $PROFILE.`,
		Example: `  vhd completion bash > ~/.local/share/bash-completion/completions/vhd
  vhd completion zsh > "${fpath[1]}/_vhd"
  vhd completion fish > ~/.config/fish/completions/vhd.fish
  vhd completion powershell | Out-String | Invoke-Expression`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageErrorf("which shell? bash, zsh, fish or powershell")
			}
			if len(args) > 1 {
				return usageErrorf("%q is one argument too many", args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, shell := range shells {
				if shell.name == args[0] {
					return inFile(standardOutput, shell.write(cmd.Root()))
				}
			}
			return usageErrorf("the shell is bash, zsh, fish or powershell, and not %q", args[0])
		},
		ValidArgsFunction:     inOrder(cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp)),
		DisableFlagsInUseLine: true,
	}
}

// anImage completes to the names of images, and of directories.
func anImage(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return []cobra.Completion{"vhd", "avhd"}, cobra.ShellCompDirectiveFilterFileExt
}

// anUndoFile completes to the names of what repairs keep.
func anUndoFile(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return []cobra.Completion{"undo"}, cobra.ShellCompDirectiveFilterFileExt
}

// inChain completes to the images of the chain whose leaf is named in front of the flag, but for those at its
// top, and at its bottom. Without such a name, any image will do.
func (a *app) inChain(top, bottom int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) != 1 {
			return anImage(cmd, args, toComplete)
		}
		opts := a.options()
		opts.Lock = vhd.LockNone
		d, err := vhd.Open(args[0], &opts)
		if err != nil {
			return anImage(cmd, args, toComplete)
		}
		defer func() { _ = d.Close() }() // read-only
		names := chainNames(d)
		if len(names) < top+bottom {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names[top : len(names)-bottom], cobra.ShellCompDirectiveNoFileComp
	}
}

// aFile completes to the name of any file.
func aFile(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// aDirectory completes to those.
func aDirectory(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// inOrder completes each of a verb's arguments in its own way, and nothing behind them.
func inOrder(each ...cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= len(each) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return each[len(args)](cmd, args, toComplete)
	}
}

// completeArguments lets a shell complete what the verbs do not complete by themselves: arguments
// are images, and the help says what the values of flags are.
func completeArguments(root *cobra.Command) {
	completeFlags(root, root.PersistentFlags())
	for _, verb := range root.Commands() {
		if verb.ValidArgsFunction == nil {
			verb.ValidArgsFunction = anImage
		}
		completeFlags(verb, verb.Flags())
	}
}

func completeFlags(cmd *cobra.Command, flags *pflag.FlagSet) {
	flags.VisitAll(func(flag *pflag.Flag) {
		if complete := completionOf(flag); complete != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag.Name, complete) // an error: the verb did so before
		}
	})
}

// completionOf is how the value of a flag is completed, or nil: as any file.
func completionOf(flag *pflag.Flag) cobra.CompletionFunc {
	if value, ok := flag.Value.(interface{ words() []string }); ok {
		return cobra.FixedCompletions(value.words(), cobra.ShellCompDirectiveNoFileComp)
	}
	switch name, _ := pflag.UnquoteUsage(flag); name {
	case "PARENT", "IMAGE":
		return anImage
	case "DIR":
		return aDirectory
	case "SIZE", "N":
		return cobra.NoFileCompletions
	}
	return nil
}
