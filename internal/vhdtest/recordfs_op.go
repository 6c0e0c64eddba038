package vhdtest

import (
	"fmt"
	"os"
)

// OpKind says what a call to an FS or a File does.
type OpKind int

// The kinds of calls.
const (
	OpOpen OpKind = iota
	OpRename
	OpRemove
	OpLink
	OpReadDir
	OpSyncDir
	OpRead
	OpWrite
	OpTruncate
	OpSync
	OpStat
	OpClose
	OpControl // the operating system's handle was asked for
)

var opNames = [...]string{
	OpOpen: "open", OpRename: "rename", OpRemove: "remove", OpLink: "link", OpReadDir: "readdir", OpSyncDir: "syncdir",
	OpRead: "read", OpWrite: "write", OpTruncate: "truncate", OpSync: "sync", OpStat: "stat", OpClose: "close",
	OpControl: "control",
}

func (k OpKind) String() string {
	if k < 0 || int(k) >= len(opNames) {
		return fmt.Sprintf("OpKind(%d)", int(k))
	}
	return opNames[k]
}

// Op is one call to an FS or a File, as it was asked for.
type Op struct {
	Kind OpKind
	Name string // as given to the call, or as given when the file was opened
	To   string // the new name of a rename or a link
	Flag int    // of an open
	Off  int64  // of a read or a write; the size that a truncate asks for
	N    int64  // bytes of a read or a write
}

func (o Op) String() string {
	switch o.Kind {
	case OpRead, OpWrite:
		return fmt.Sprintf("%v %s [%d, %d)", o.Kind, o.Name, o.Off, o.Off+o.N)
	case OpTruncate:
		return fmt.Sprintf("%v %s %d", o.Kind, o.Name, o.Off)
	case OpRename, OpLink:
		return fmt.Sprintf("%v %s %s", o.Kind, o.Name, o.To)
	case OpOpen:
		return fmt.Sprintf("%v %s %#x", o.Kind, o.Name, o.Flag)
	case OpRemove, OpReadDir, OpSyncDir, OpSync, OpStat, OpClose, OpControl:
		return fmt.Sprintf("%v %s", o.Kind, o.Name)
	}
	return o.Kind.String()
}

// Mutates reports whether the call may change what is stored, or makes
// changes durable. Opening a file does where it may create or empty it.
func (o Op) Mutates() bool {
	switch o.Kind {
	case OpRename, OpRemove, OpLink, OpSyncDir, OpWrite, OpTruncate, OpSync:
		return true
	case OpOpen:
		return o.Flag&(os.O_CREATE|os.O_TRUNC) != 0
	case OpReadDir, OpRead, OpStat, OpClose, OpControl:
		return false
	}
	return false
}
