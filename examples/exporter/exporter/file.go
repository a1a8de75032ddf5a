package exporter

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
)

// writeFile writes the file of key, "folder/name", below the export folder. It
// appears under its name only when it is whole and on disk; after an error there
// is nothing of it. What a crash leaves begins with a dot and ends in .partial.
func (x *Exporter) writeFile(key string, fill func(io.Writer) error) (size int64, err error) {
	// Opened anew each time: a folder that vanished, such as a disk that was
	// unmounted, must be noticed, and never be made again.
	root, err := os.OpenRoot(x.cfg.Dir)
	if err != nil {
		return 0, fail(MissingFolder, err, "the folder of the exports cannot be opened: %v", reason(err))
	}
	defer root.Close()
	folder, name := path.Split(key)
	folder = path.Clean(folder)
	if err := root.Mkdir(folder, 0o750); err == nil {
		err = syncFolder(root, ".")
		if err != nil {
			return 0, err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return 0, err
	}

	partial := folder + "/." + name + ".partial"
	f, err := root.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return 0, err
	}
	size, err = x.fill(f, fill)
	if err != nil {
		return 0, errors.Join(err, root.Remove(partial))
	}
	if err := root.Rename(partial, key); err != nil {
		return 0, errors.Join(err, root.Remove(partial))
	}
	if err := syncFolder(root, folder); err != nil {
		return 0, errors.Join(err, root.Remove(key))
	}
	return size, nil
}

// fill writes f to its end, syncs and closes it.
func (x *Exporter) fill(f *os.File, fill func(io.Writer) error) (size int64, err error) {
	defer func() { err = errors.Join(err, f.Close()) }()
	counted := &countingWriter{w: x.wrap(f)}
	buffered := bufio.NewWriterSize(counted, 64<<10)
	if err := fill(buffered); err != nil {
		return 0, err
	}
	if err := buffered.Flush(); err != nil {
		return 0, err
	}
	return counted.n, f.Sync()
}

// removeFile takes back a file that could not be reported.
func (x *Exporter) removeFile(key string) error {
	root, err := os.OpenRoot(x.cfg.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return root.Remove(key)
}

// syncFolder makes the names in a folder last; Windows has no such call.
func syncFolder(root *os.Root, name string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
