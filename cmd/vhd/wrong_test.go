package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// wrongCommands are what people type who are tired, or new, and all that they are told.
var wrongCommands = []struct {
	line string
	code int
	says string
}{
	{"fly", exitUsage, `vhd: there is no command "fly"
usage: vhd COMMAND
hint: vhd --help tells more
`},
	{"exprot alice.vhd out.raw", exitUsage, `vhd: there is no command "exprot"; is it export?
usage: vhd COMMAND
hint: vhd export alice.vhd out.raw; vhd --help tells more
`},
	{"copy alice.vhd out.raw", exitUsage, `vhd: there is no command "copy"; is it export or import?
usage: vhd COMMAND
hint: vhd --help tells more
`},
	{"version", exitUsage, `vhd: there is no command "version"; is it --version?
usage: vhd COMMAND
hint: vhd --version; vhd --help tells more
`},
	{"help foo", exitUsage, `vhd help: there is no command "foo"
usage: vhd help COMMAND
hint: vhd help --help tells more
`},
	{"alice.vhd info", exitUsage, `vhd: the command goes in front of the file: vhd info alice.vhd
usage: vhd COMMAND
hint: vhd --help tells more
`},
	{"alice.vhd", exitUsage, `vhd: the command goes in front of the file: vhd info alice.vhd
usage: vhd COMMAND
hint: vhd --help tells more
`},
	{"--verzion", exitUsage, `vhd: unknown flag: --verzion; is it --version?
usage: vhd COMMAND
hint: vhd --version; vhd --help tells more
`},
	{"map --otput json alice.vhd", exitUsage, `vhd map: unknown flag: --otput; is it --output?
usage: USE
hint: vhd map --output json alice.vhd; vhd map --help tells more
`},
	{"info --json alice.vhd", exitUsage, `vhd info: unknown flag: --json; is it --output=json?
usage: USE
hint: vhd info --output=json alice.vhd; vhd info --help tells more
`},
	{"completion --json", exitUsage, `vhd completion: unknown flag: --json
usage: USE
hint: vhd completion --help tells more
`},
	{"info -o json alice.vhd", exitUsage, `vhd info: unknown shorthand flag: 'o' in -o; is it --output?
usage: USE
hint: vhd info --output json alice.vhd; vhd info --help tells more
`},
	{"map --svg alice.vhd", exitUsage, `vhd map: alice.vhd is taken for OUT, the picture that is made, and FILE is missing: vhd map --svg alice.svg alice.vhd
usage: USE
hint: vhd map --help tells more
`},
	{"map -p --html alice.vhd", exitUsage, `vhd map: alice.vhd is taken for OUT, the picture that is made, and FILE is missing: vhd map --html alice.html alice.vhd
usage: USE
hint: vhd map --help tells more
`},
	{"map --svg alice.svg", exitUsage, `vhd map: FILE is missing
usage: USE
hint: vhd map --help tells more
`},
	{"resize alice.vhd +10G --dry-run", exitUsage, `vhd resize: flags stand in front of FILE, and --dry-run does not
usage: USE
hint: vhd resize --dry-run alice.vhd +10G; vhd resize --help tells more
`},
	{"resize -q alice.vhd --output json --shrink -10M", exitUsage, `vhd resize: flags stand in front of FILE, and --output does not
usage: USE
hint: vhd resize -q --output json --shrink alice.vhd -10M; vhd resize --help tells more
`},
	{"resize alice.vhd -- -1M", exitUsage, `vhd resize: flags stand in front of FILE, and -- does not
usage: USE
hint: vhd resize alice.vhd -1M; vhd resize --help tells more
`},
	{"resize alice.vhd --dry-run", exitUsage, `vhd resize: flags stand in front of FILE, and --dry-run does not
usage: USE
hint: vhd resize --help tells more
`},
	{"info", exitUsage, `vhd info: FILE is missing
usage: USE
hint: vhd info --help tells more
`},
	{"info alice.vhd bob.vhd", exitUsage, `vhd info: "bob.vhd" is one argument too many
usage: USE
hint: vhd info --help tells more
`},
	{"create new.vhd", exitUsage, `vhd create: the size is missing, or 0: say it behind FILE, such as 40G
usage: USE
hint: vhd create --help tells more
`},
	{"create 40G new.vhd", exitUsage, `vhd create: the size goes behind the file
usage: USE
hint: vhd create new.vhd 40G; vhd create --help tells more
`},
	{"create -s 10 new.vhd", exitUsage, `vhd create: the size of a disk is a multiple of 512 bytes: 512, or with a unit, such as 10G
usage: USE
hint: vhd create --help tells more
`},
	{"create -s 10GB new.vhd", exitUsage, `vhd create: invalid argument "10GB" for "-s, --size" flag: want a number of bytes, or one with K, M, G or T behind it, such as 512M or 1.5G
usage: USE
hint: vhd create -s 10G new.vhd; vhd create --help tells more
`},
	{"resize alice.vhd +1GB", exitUsage, `vhd resize: SIZE is "+1GB": want a number of bytes, or one with K, M, G or T behind it, such as 512M or 1.5G
usage: USE
hint: vhd resize alice.vhd +1G; vhd resize --help tells more
`},
	{"measure -O dynamic --size 3T", exitUsage, `vhd measure: a dynamic or differencing image has at most 2040G: make it smaller, or fixed
usage: USE
hint: vhd measure --help tells more
`},
	{"check -r all alice.vhd", exitNotChecked, `vhd check: a check changes nothing: vhd repair FILE mends what it can, and vhd compact FILE gives leaks back
usage: USE
hint: vhd check --help tells more
`},
	{"convert -c -O vpc alice.vhd out.vhd", exitUsage, `vhd convert: a VHD holds nothing compressed: leave out -c; vhd compact makes one as small as it can be
usage: USE
hint: vhd convert --help tells more
`},
	{"convert -n alice.vhd out.raw", exitUsage, `vhd convert: OUT is always a new file, or a raw one that is replaced: leave out -n
usage: USE
hint: vhd convert --help tells more
`},
	{"merge alice.vhd base.vhd", exitUsage, `vhd merge: the image that receives is named with --into: --into base.vhd alice.vhd
usage: USE
hint: vhd merge --help tells more
`},
	{"resize 1G alice.vhd", exitUsage, `vhd resize: SIZE goes behind FILE
usage: USE
hint: vhd resize alice.vhd 1G; vhd resize --help tells more
`},
	{"resize alice.vhd", exitUsage, `vhd resize: SIZE is missing
usage: USE
hint: vhd resize --help tells more
`},
	{"rebase alice.vhd", exitUsage, `vhd rebase: -b PARENT or --tree DIR is missing
usage: USE
hint: vhd rebase --help tells more
`},
	{"check", exitNotChecked, `vhd check: FILE is missing
usage: USE
hint: vhd check --help tells more
`},
	{"completion", exitUsage, `vhd completion: which shell? bash, zsh, fish or powershell
usage: USE
hint: vhd completion --help tells more
`},

	{"info none.vhd", exitError, `vhd: none.vhd: no such file or directory
hint: vhd ls . shows the images there
`},
	{"info alcie.vhd", exitError, `vhd: alcie.vhd: no such file or directory
hint: is it alice.vhd?
`},
	{"check moved/win11.vhd", exitNotChecked, `vhd: moved/win11.vhd: no such file or directory
hint: is it moved/win10.vhd?
`},
	{"export nowhere/none.vhd out.raw", exitError, `vhd: nowhere/none.vhd: no such file or directory
hint: there is no directory nowhere
`},
	{"import none.raw new.vhd", exitError, `vhd: none.raw: no such file or directory
hint: vhd ls . shows the images there
`},
	{"ls dusks", exitError, `vhd: dusks: no such file or directory
hint: is it disks?
`},
	{"rebase --tree nowhere", exitError, `vhd: --tree nowhere: no such file or directory
hint: vhd ls . shows the images there
`},
	{"map --svg none/x.svg alice.vhd", exitError, `vhd: none/x.svg: there is no directory none
hint: mkdir -p none
`},
	{"ls --svg none/x.svg", exitError, `vhd: none/x.svg: there is no directory none
hint: mkdir -p none
`},
	{"create new.vhdx 1G", exitError, `vhd: new.vhdx: VHDX is another format, and what vhd makes is a VHD
hint: call it new.vhd; where the format is said, as in vhd create -f vpc and vhd convert -O vpc, any name will do
`},
	{"snapshot alice.vhd new.avhdx", exitError, `vhd: new.avhdx: VHDX is another format, and what vhd makes is a VHD
hint: call it new.avhd; where the format is said, as in vhd create -f vpc and vhd convert -O vpc, any name will do
`},
	{"info alice", exitError, `vhd: alice: no such file or directory
hint: is it alice.vhd?
`},
	{"info disks", exitError, `vhd: disks: it is a directory, and no image
hint: vhd ls disks shows the images in it
`},
	{"info x.vhdx", exitError, `vhd: x.vhdx: it is a VHDX image, which vhd does not read
hint: qemu-img convert -O vpc -o force_size=on x.vhdx NEW.vhd makes a VHD of it
`},
	{"info empty.vhd", exitError, `vhd: empty.vhd: it is empty, and no image
hint: if it was copied or downloaded, do that again; vhd create makes a new image
`},
	{"check notes.txt", exitNotChecked, `vhd: notes.txt: footer at offset 0: not a valid VHD: got a file of 6 bytes, want at least a footer
hint: if it is the raw content of a disk: vhd import notes.txt NEW.vhd makes an image of it
`},
	{"info cut.vhd", exitError, `vhd: cut.vhd: footer: data offset at offset 16: not a valid VHD: got 512, want a multiple of 512, and a header in front of the file's end at 1500
hint: ` + hintOfDamage("cut.vhd") + `
`},
	{"map held.vhd", exitError, `vhd: held.vhd: image is in use
hint: ` + hintLocked + `
`},

	{"create -s 1G alice.vhd", exitError, `vhd: alice.vhd: file already exists
hint: choose another name: a new image takes the place of no file
`},
	{"create -s 1G disks", exitError, `vhd: disks: it is a directory
hint: give the new file a name in it, such as disks/NEW
`},
	{"create -b none.vhd new.vhd", exitError, `vhd: none.vhd: no such file or directory
hint: vhd ls . shows the images there
`},
	{"snapshot alice.vhd bob.vhd", exitError, `vhd: bob.vhd: file already exists
hint: choose another name: a new image takes the place of no file
`},
	{"mv alice.vhd disks", exitError, `vhd: disks: it is a directory
hint: give the new file a name in it, such as disks/NEW
`},
	{"export alice.vhd alice.vhd", exitError, `vhd: alice.vhd: it is one of the images that are to be copied
hint: give the raw file another name
`},
	{"export alice.vhd none/out.raw", exitError, `vhd: none/out.raw: there is no directory none
hint: mkdir -p none
`},
	{"export -O fixed alice.vhd none/out.vhd", exitError, `vhd: none/out.vhd: there is no directory none
hint: mkdir -p none
`},
	{"import base.vhd new.vhd", exitError, `vhd: base.vhd: it is a VHD image, not raw content
hint: make raw content of it first: vhd export base.vhd OUT.raw
`},
	{"merge base.vhd", exitError, `vhd: base.vhd: it has no parent that it could be folded into
hint: name the child, of which the content goes to its parent: vhd merge --to NEW.vhd alice.vhd makes an image of both, as bob.vhd needs base.vhd as it is
`},
	{"merge --into bob.vhd alice.vhd", exitError, `vhd: --into bob.vhd: no image of the chain is called so
hint: the chain is alice.vhd, base.vhd
`},
	{"merge alice.vhd", exitError, `vhd: base.vhd: another image has it as its parent: HERE/bob.vhd
hint: with --to NEW.vhd a new image takes the result, and all stay as they are; with --force that file is no child that anybody needs
`},
	{"compact fixed.vhd", exitError, `vhd: fixed.vhd: unsupported: a fixed disk has no blocks, and can't be compacted
hint: vhd export -O dynamic fixed.vhd NEW.vhd makes an image without its zeros
`},
	{"resize alice.vhd 1M", exitError, `vhd: alice.vhd: the disk would become smaller, from 4 MiB (4194304 bytes) to 1 MiB (1048576 bytes)
hint: if that is meant: vhd resize --shrink alice.vhd 1M
`},
	{"rebase -b alice.vhd alice.vhd", exitError, `vhd: alice.vhd: chain of parents is a loop
hint: the parent can be no child of alice.vhd, and not alice.vhd itself
`},
	{"rebase -b bob.vhd base.vhd", exitError, `vhd: base.vhd: invalid argument: a dynamic disk has no parent
hint: only a differencing disk has one: vhd create -b bob.vhd NEW.vhd makes a new one
`},

	{"map moved/alice.vhd", exitError, `vhd: moved/alice.vhd: parent not found
  moved/base.vhd (W2ru): no such file or directory
hint: vhd rebase -b moved/win10.vhd moved/alice.vhd
`},
	{"export twice/alice.vhd out.raw", exitError, `vhd: twice/alice.vhd: parent has another identifier
  twice/base.vhd (W2ru): parent has another identifier: it is 04000000-0000-0000-0000-000000000000, want 03000000-0000-0000-0000-000000000000
hint: vhd rebase -b 'twice/a copy.vhd' twice/alice.vhd; twice/win10.vhd could be its parent too
`},
	{"map lost/alice.vhd", exitError, `vhd: lost/alice.vhd: parent not found
  lost/base.vhd (W2ru): no such file or directory
hint: put the parent there: lost/base.vhd; or tell where it is now: vhd rebase -b PARENT lost/alice.vhd; or let it be looked for in a folder and those in it: vhd rebase --tree DIR; vhd info lost/alice.vhd shows its identifier
`},
	{"map another/alice.vhd", exitError, `vhd: another/alice.vhd: parent has another identifier
  another/base.vhd (W2ru): parent has another identifier: it is 04000000-0000-0000-0000-000000000000, want 03000000-0000-0000-0000-000000000000
hint: what was found is another disk than the parent, or was made anew: put the original there; vhd info another/alice.vhd shows its identifier
`},
	{"map loop/alice.vhd", exitError, `vhd: loop/base.vhd: chain of parents is a loop
  loop/alice.vhd (W2ru): chain of parents is a loop
hint: vhd info loop/base.vhd shows what it refers to; if another image is its parent: vhd rebase -b PARENT loop/base.vhd
`},
	{"map --root lost alice.vhd", exitError, `vhd: alice.vhd: parent is outside the root directory
  base.vhd (W2ru): parent is outside the root directory
hint: if you trust what alice.vhd refers to: --root HERE
`},
	{"map --root none alice.vhd", exitError, `vhd: --root none: no such file or directory
hint: vhd ls . shows the images there
`},
	{"map --root disk alice.vhd", exitError, `vhd: --root disk: no such file or directory
hint: is it disks?
`},
	{"map --root moved/alice.vhd alice.vhd", exitError, `vhd: --root moved/alice.vhd: it is no directory
hint: name the directory that holds all the parents: --root moved
`},
	{"merge disks", exitError, aDirectoryIsNoImage},
	{"compact disks", exitError, aDirectoryIsNoImage},
	{"resize disks 5M", exitError, aDirectoryIsNoImage},
	{"snapshot disks x.vhd", exitError, aDirectoryIsNoImage},
	{"rebase -b base.vhd disks", exitError, aDirectoryIsNoImage},
	{"import disks x.vhd", exitError, aDirectoryIsNoImage},
	{"repair disks", exitNotChecked, aDirectoryIsNoImage},
	{"repair --restore base.vhd.undo disks", exitNotChecked, aDirectoryIsNoImage},
	{"repair --restore nots.txt base.vhd", exitNotChecked, `vhd: nots.txt: no such file or directory
hint: a repair of base.vhd that mends something leaves base.vhd.undo, or what --undo says
`},
	{"repair --restore base.vhd.undo base.vhd", exitNotChecked, `vhd: base.vhd.undo: no such file or directory
hint: a repair of base.vhd that mends something leaves base.vhd.undo, or what --undo says
`},
	{"resize --shrink base.vhd -100M", exitError, `vhd: base.vhd: of 4 MiB (4194304 bytes) nothing would be left
hint: a disk has 512 bytes at least; without - in front, SIZE is what it is to have
`},
	{"resize base.vhd 0", exitError, `vhd: base.vhd: of 4 MiB (4194304 bytes) nothing would be left
hint: a disk has 512 bytes at least; without - in front, SIZE is what it is to have
`},
	{"resize base.vhd +3T", exitError, `vhd: base.vhd: a dynamic or differencing image has at most 2040G
hint: a fixed image of it can become larger: vhd export -O fixed base.vhd NEW.vhd
`},
	{"export -O differencing --base 9 alice.vhd new.vhd", exitError, `vhd: --base 9: no image of the chain is called so
hint: the chain is alice.vhd, base.vhd
`},
	{"convert -B alice.vhd alice.vhd new.vhd", exitError, `vhd: -B alice.vhd: it is what is copied, and no parent of that
hint: the chain is alice.vhd, base.vhd
`},
	{"export -O differencing base.vhd new.vhd", exitError, `vhd: base.vhd: it has no parent, which a differencing image needs
hint: a dynamic one needs none: -O dynamic
`},
	{"convert -O differencing base.vhd new.vhd", exitError, `vhd: base.vhd: it has no parent, which a differencing image needs
hint: a dynamic one needs none: -O dynamic
`},
	{"repair --restore notes.txt base.vhd", exitError, `vhd: notes.txt: undo file at offset 0: not a valid VHD: got 6 bytes, want an undo file of a repair
hint: it is damaged, or no undo file: that of a repair of base.vhd is called base.vhd.undo, or as --undo said
`},
	{"demo base.vhd", exitError, `vhd: base.vhd: it is no directory
hint: give the demo a directory of its own, which need not be there yet: vhd demo DIR
`},
}

const aDirectoryIsNoImage = `vhd: disks: it is a directory, and no image
hint: vhd ls disks shows the images in it
`

// putWrong makes a new directory the current one, with what wrongCommands name.
func putWrong(t *testing.T) {
	t.Helper()
	t.Chdir(realDir(t))
	base := soundDisk()
	base.ID = [16]byte{3}
	child := vhdtest.NewChild(base, "base.vhd")
	for _, dir := range []string{"disks", "moved", "twice", "lost", "another", "loop"} {
		require.NoError(t, os.Mkdir(dir, 0o755))
		if dir != "disks" {
			child.WriteFile(t, dir+"/alice.vhd")
		}
	}
	for _, name := range []string{"base.vhd", "held.vhd", "moved/win10.vhd", "twice/a copy.vhd", "twice/win10.vhd"} {
		base.WriteFile(t, name)
	}
	child.WriteFile(t, "alice.vhd")
	child.WriteFile(t, "bob.vhd")
	other := soundDisk()
	other.ID = [16]byte{4}
	other.WriteFile(t, "another/base.vhd")
	other.WriteFile(t, "twice/base.vhd")
	loop := vhdtest.NewChild(child, "alice.vhd")
	loop.ID = base.ID
	loop.WriteFile(t, "loop/base.vhd")
	vhdtest.NewFixed(1<<20, nil).WriteFile(t, "fixed.vhd")
	writeFile(t, "cut.vhd", readFile(t, "base.vhd")[:1500])
	writeFile(t, "empty.vhd", nil)
	writeFile(t, "notes.txt", []byte("hello\n"))
	writeFile(t, "x.vhdx", append([]byte("vhdxfile"), make([]byte, 1016)...))
}

func TestWhatIsSaidOfWrongCommands(t *testing.T) {
	putWrong(t)
	here, err := os.Getwd()
	require.NoError(t, err)
	held, err := vhd.Open("held.vhd", &vhd.Options{Writable: true})
	require.NoError(t, err)
	defer held.Close()
	before := sums(t)
	for _, c := range wrongCommands {
		t.Run(c.line, func(t *testing.T) {
			args := strings.Fields(c.line)
			cmd, _, err := newCommand().Find(args)
			if err != nil {
				cmd = newCommand()
			}
			says := strings.NewReplacer("HERE", here, "USE", cmd.UseLine()).Replace(c.says)
			require.Equal(t, answer{c.code, "", says}, command(t, args...))
		})
	}
	require.Equal(t, before, sums(t), "nothing was done")
}
