package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const usageTemplate = `Usage:
  {{if .HasParent}}{{.UseLine}}{{else}}vhd COMMAND{{end}}{{if .Aliases}}

Other names:
  {{range $i, $name := .Aliases}}{{if $i}}, {{end}}{{$name}}{{end}}{{end}}{{if .HasExample}}

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

// helpCommand is vhd help, which people type who do not think of --help.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help COMMAND",
		Short: "Tell what a command does",
		RunE: func(cmd *cobra.Command, args []string) error {
			verb, _, err := cmd.Root().Find(args)
			if err != nil || len(args) > 0 && !verb.HasParent() {
				return noSuchCommand(cmd.Root(), args[0])
			}
			verb.InitDefaultHelpFlag()
			return verb.Help()
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) (verbs []cobra.Completion, _ cobra.ShellCompDirective) {
			for _, verb := range cmd.Root().Commands() {
				if len(args) == 0 && verb.IsAvailableCommand() {
					verbs = append(verbs, cobra.CompletionWithDesc(verb.Name(), verb.Short))
				}
			}
			return verbs, cobra.ShellCompDirectiveNoFileComp
		},
		DisableFlagsInUseLine: true,
	}
}

// noSuchCommand is the answer to a verb that there is not.
func noSuchCommand(root *cobra.Command, verb string) error {
	like := verbsLike(root, verb)
	if root.Flag(verb) != nil {
		like = append(like, "--"+verb)
	}
	return usageError{orIsIt(fmt.Errorf("there is no command %q", verb), verb, like)}
}

// verbsLike are the verbs that may have been meant. A short one is a few letters from any
// word, so at least it begins the same.
func verbsLike(cmd *cobra.Command, word string) []string {
	return slices.DeleteFunc(cmd.SuggestionsFor(word), func(verb string) bool {
		return len(verb) <= cmd.SuggestionsMinimumDistance && !strings.HasPrefix(word, verb[:1])
	})
}

// wrongFlag is the answer to a flag that can't be understood.
func wrongFlag(cmd *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		name := unknown.GetSpecifiedName()
		word := "--" + name
		if unknown.GetSpecifiedShortnames() != "" {
			word = "-" + name
		}
		return usageError{orIsIt(err, word, flagsLike(cmd, name))}
	}
	if other, ok := errors.AsType[elsewhereError](err); ok {
		return usageError{other}
	}
	return usageError{err}
}

// flagsLike are the flags of a command that are called like name.
func flagsLike(cmd *cobra.Command, name string) []string {
	if name == outputJSON && cmd.Flags().Lookup("output") != nil {
		return []string{"--output=" + outputJSON}
	}
	var flags []string
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		if !flag.Hidden {
			flags = append(flags, "--"+flag.Name)
		}
	})
	return wordsLike("--"+name, flags)
}

// wordsLike are those of words, in which no space is, that are like another.
func wordsLike(word string, words []string) []string {
	verbs := &cobra.Command{SuggestionsMinimumDistance: 2} // what is like a verb, cobra knows
	for _, one := range words {
		verbs.AddCommand(&cobra.Command{Use: one, Run: func(*cobra.Command, []string) {}})
	}
	return verbs.SuggestionsFor(word)
}

// orIsIt asks behind err, which is about a word, whether the user means one of these.
func orIsIt(err error, word string, like []string) error {
	if len(like) == 0 {
		return err
	}
	err = fmt.Errorf("%w; is it %s?", err, strings.Join(like, " or "))
	if len(like) == 1 {
		return mistake{error: err, right: map[string]string{word: like[0]}}
	}
	return err
}
