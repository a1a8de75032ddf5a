// Package killsweep runs a program and kills it at a point that is chosen: before
// or after the n-th system call that leaves something behind. Its tests take every
// job of the real program through all such points, and compare what the next run
// makes of it with what an undisturbed run leaves.
package killsweep
