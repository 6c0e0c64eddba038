package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages",
		Long: `Write a page of the manual for vhd and for each of its commands to DIR, which is
made if it is not there.

The pages have the date that SOURCE_DATE_EPOCH says, in seconds since 1970, or none.`,
		Example: `  vhd man ~/.local/share/man/man1`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageErrorf("DIR is missing, or more than one")
			}
			return nil
		},
		RunE:                  func(cmd *cobra.Command, args []string) error { return writeManual(cmd.Root(), args[0]) },
		ValidArgsFunction:     inOrder(aDirectory),
		DisableFlagsInUseLine: true,
	}
}

// writeManual writes a page for each command.
func writeManual(root *cobra.Command, dir string) error {
	date, err := manualDate()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return inFile(dir, err)
	}
	root.InitDefaultVersionFlag()
	for _, cmd := range append(root.Commands(), root) {
		if !cmd.IsAvailableCommand() && cmd.HasParent() {
			continue
		}
		cmd.InitDefaultHelpFlag() // so that it is on all pages
		var page manPage
		page.write(cmd, date)
		name := filepath.Join(dir, pageOf(cmd)+".1")
		if err := writeWhole(name, "a manual page", []byte(page.String())); err != nil {
			return err
		}
	}
	return nil
}

// manualDate is the date of the pages: not that of the day, so that the same source makes the same
// pages.
func manualDate() (string, error) {
	const variable = "SOURCE_DATE_EPOCH"
	epoch := os.Getenv(variable)
	if epoch == "" {
		return "", nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return "", fmt.Errorf("%s: it is no number of seconds: %q", variable, epoch)
	}
	return time.Unix(seconds, 0).UTC().Format(time.DateOnly), nil
}

// pageOf is the name of a command's page.
func pageOf(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage is a page as man(7) says: lines of text, and of what begins with a dot.
type manPage struct{ strings.Builder }

func (p *manPage) write(cmd *cobra.Command, date string) {
	fmt.Fprintf(p, ".TH %q 1 %q vhd \"User Commands\"\n", strings.ToUpper(pageOf(cmd)), date)
	fmt.Fprintf(p, ".nr HY 0\n.ad l\n") // names and flags are no words to be hyphenated, or set apart
	p.section("NAME")
	fmt.Fprintf(p, "%s \\- %s\n", roff(pageOf(cmd)), roff(strings.ToLower(cmd.Short[:1])+cmd.Short[1:]))
	p.synopsis(cmd)
	p.section("DESCRIPTION")
	p.text(cmd.Long)
	p.commands(cmd)
	p.flags("OPTIONS", cmd.NonInheritedFlags())
	p.flags("OPTIONS OF ALL COMMANDS", cmd.InheritedFlags())
	if cmd.HasExample() {
		p.section("EXAMPLES")
		p.verbatim(cmd.Example)
	}
	p.seeAlso(cmd)
}

func (p *manPage) section(name string) { fmt.Fprintf(p, ".SH %s\n", name) }

func (p *manPage) synopsis(cmd *cobra.Command) {
	p.section("SYNOPSIS")
	use := "COMMAND"
	if cmd.HasParent() {
		use = strings.TrimPrefix(cmd.UseLine(), cmd.CommandPath())
	}
	fmt.Fprintf(p, "\\fB%s\\fR %s\n", roff(cmd.CommandPath()), roff(strings.TrimSpace(use)))
	for _, name := range cmd.Aliases {
		fmt.Fprintf(p, ".br\n\\fB%s\\fR ...\n", roff(cmd.Parent().CommandPath()+" "+name))
	}
}

// text writes paragraphs, which empty lines part. One whose lines are indented is shown as it is.
func (p *manPage) text(text string) {
	for i, paragraph := range strings.Split(text, "\n\n") {
		if i > 0 {
			fmt.Fprintf(p, ".PP\n")
		}
		if strings.HasPrefix(paragraph, " ") {
			p.verbatim(paragraph)
			continue
		}
		fmt.Fprintf(p, "%s\n", roff(paragraph))
	}
}

func (p *manPage) verbatim(lines string) { fmt.Fprintf(p, ".EX\n%s\n.EE\n", roff(lines)) }

// commands lists those that a command has.
func (p *manPage) commands(cmd *cobra.Command) {
	if !cmd.HasAvailableSubCommands() {
		return
	}
	p.section("COMMANDS")
	for _, verb := range cmd.Commands() {
		if verb.IsAvailableCommand() {
			fmt.Fprintf(p, ".TP\n\\fB%s\\fR\n%s. See \\fB%s\\fR(1).\n", roff(verb.Name()), roff(verb.Short), roff(pageOf(verb)))
		}
	}
}

func (p *manPage) flags(section string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	p.section(section)
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(flag)
		names := "\\fB" + roff("--"+flag.Name) + "\\fR"
		if flag.Shorthand != "" {
			names = "\\fB" + roff("-"+flag.Shorthand) + "\\fR, " + names
		}
		fmt.Fprintf(p, ".TP\n%s \\fI%s\\fR\n%s\n", names, roff(value), roff(usage))
	})
}

func (p *manPage) seeAlso(cmd *cobra.Command) {
	others := cmd.Commands()
	if cmd.HasParent() {
		others = append([]*cobra.Command{cmd.Parent()}, cmd.Parent().Commands()...)
	}
	p.section("SEE ALSO")
	separator := ""
	for _, other := range others {
		if other == cmd || other.HasParent() && !other.IsAvailableCommand() {
			continue
		}
		fmt.Fprintf(p, "%s\\fB%s\\fR(1)", separator, roff(pageOf(other)))
		separator = ",\n"
	}
	fmt.Fprintln(p)
}

// roff is text in which nothing controls the page.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, `-`, `\-`, "~", `\(ti`, "^", `\(ha`, "`", `\(ga`, "'", `\(aq`).Replace(text)
	text = ascii(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

// ascii names the characters that not every program for manuals can read.
func ascii(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\[u%04X]`, r)
		}
	}
	return b.String()
}
