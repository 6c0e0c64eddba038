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
	err := fmt.Errorf("there is no command %q", verb)
	like := verbsLike(root, verb)
	if root.Flag(verb) != nil {
		like = append(like, "--"+verb)
	}
	asked := orIsIt(err, verb, like)
	if strings.EqualFold(verb, "flatten") {
		asked = mistake{error: asked, line: flattening(root, verb)}
	}
	if line, ok := errors.AsType[mistake](asked); ok && !hasFlagsOfVerb(correctedWords(root, line)) {
		asked = errors.New(line.Error()) // the flags are none of that verb, and so the line is not what was meant
	}
	return usageError{asked}
}

// flattening is the command line that makes one image of a chain, as some call it flatten.
func flattening(root *cobra.Command, verb string) []string {
	words := wordsTyped(root)
	at := slices.Index(words, verb)
	if at < 0 { // as the words do not stand
		return nil
	}
	behind := slices.Clone(words[at+1:])
	nfiles := 0
	for _, word := range behind {
		if !strings.HasPrefix(word, "-") {
			nfiles++
		}
	}
	behind = append(behind, []string{"FILE", "NEW.vhd"}[min(nfiles, 2):]...)
	return slices.Concat(words[:at], []string{"export", "-O", "dynamic"}, behind)
}

// hasFlagsOfVerb says whether all flags of a command line are known to its verb.
func hasFlagsOfVerb(words []string) bool {
	verb, args, err := newCommand().Find(words)
	if err != nil || !verb.HasParent() {
		return err == nil
	}
	err = verb.ParseFlags(args)
	return err == nil || errors.Is(err, pflag.ErrHelp)
}

// verbsLike are the verbs that may have been meant. A short one is a few letters from any
// word, so at least it begins the same.
func verbsLike(root *cobra.Command, word string) []string {
	if verb := verbOfOthers(root, word); verb != "" {
		return []string{verb}
	}
	return slices.DeleteFunc(slices.Compact(root.SuggestionsFor(word)), func(verb string) bool {
		cmd, _, _ := root.Find([]string{verb})
		isNamedSo := slices.ContainsFunc(cmd.SuggestFor, func(name string) bool { return strings.EqualFold(name, word) })
		isShort := len(verb) <= root.SuggestionsMinimumDistance && !strings.HasPrefix(word, verb[:1])
		return !isNamedSo && (isShort || !isNear(word, verb))
	})
}

// verbOfOthers is the verb that is called so in other letters, or by PowerShell, as in Get-VHD; empty: none is.
func verbOfOthers(root *cobra.Command, word string) string {
	name := strings.TrimSuffix(strings.ToLower(word), "-vhd")
	if name == word {
		return ""
	}
	for _, cmd := range root.Commands() {
		if cmd.Name() == name || cmd.HasAlias(name) || slices.Contains(cmd.SuggestFor, name) {
			return cmd.Name()
		}
	}
	return ""
}

// withoutVerb is the answer to a command line of which the verb is missing or unknown, whatever flags stand
// in it: those are the verb's, which nobody knows. It is nil if there is a verb, or no word at all.
func withoutVerb(root *cobra.Command, args []string) error {
	root.InitDefaultHelpCmd()
	root.InitDefaultHelpFlag()
	root.InitDefaultVersionFlag()
	verb, _, err := root.Find(args)
	if err != nil || verb != root {
		return nil //nolint:nilerr // cobra tells it
	}
	for i := 0; i < len(args) && args[i] != "--"; i++ {
		switch arg := args[i]; {
		case strings.HasPrefix(arg, "__complete"): // which a shell types, and cobra answers
			return nil
		case !strings.HasPrefix(arg, "-"):
			return runNoVerb(root, args[i:])
		case !strings.Contains(arg, "="): // its value may be behind it
			i++
		}
	}
	return nil
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
	return slices.DeleteFunc(verbs.SuggestionsFor(word), func(other string) bool { return !isNear(word, other) })
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
