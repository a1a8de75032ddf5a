// Package deploy holds what runs exportops, and watches it, elsewhere. It has no
// code: its tests hold the files against the program.
package deploy
