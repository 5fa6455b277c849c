// gc_go.go: gc_pause.c, gc_trees.c and gc_cache.c once more for Go: the same arguments after the
// program's name, the same figures, what is explained there.
//
// usage: gc_go pause|trees|cache ARGUMENTS
package main

import (
	"fmt"
	"math/bits"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

var began = time.Now()

func nowNs() int64 { return int64(time.Since(began)) }

func clockNs(clock uintptr) int64 {
	var t syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&t)), 0)
	return t.Nano()
}

func cpuNs() int64 { return clockNs(2) }

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gc bench:", err)
		os.Exit(1)
	}
	return n
}

func nextRandom(state *uint64) uint64 {
	*state ^= *state << 13
	*state ^= *state >> 7
	*state ^= *state << 17
	return *state
}

func randomBelow(state *uint64, limit int) int {
	return int(nextRandom(state) >> 32 * uint64(limit) >> 32)
}

func median(of []int64) int64 {
	if len(of) == 0 {
		return 0
	}
	sorted := append([]int64(nil), of...)
	sort.Slice(sorted, func(i, k int) bool { return sorted[i] < sorted[k] })
	return sorted[len(sorted)/2]
}

func statusMib(field string) int {
	text, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(text), "\n") {
		words := strings.Fields(line)
		if len(words) > 1 && words[0] == field {
			return number(words[1]) / 1024
		}
	}
	return 0
}

type delays struct {
	n       [512]uint64
	longest int64
}

func bucketOf(ns uint64) int {
	octave := 0
	if ns >= 8 {
		octave = 63 - bits.LeadingZeros64(ns) - 3
	}
	return octave<<3 + int(ns>>octave)
}

func (d *delays) note(ns int64) {
	d.n[bucketOf(uint64(ns))]++
	if ns > d.longest {
		d.longest = ns
	}
}

func (d *delays) quantile(part float64) float64 {
	var all, n uint64
	for _, k := range d.n {
		all += k
	}
	i := 0
	for ; i < len(d.n)-1; i++ {
		if n += d.n[i]; float64(n) >= part*float64(all) {
			break
		}
	}
	if i < 16 {
		return float64(i)
	}
	return float64((i&7 + 8) << (i>>3 - 1))
}

// ---- pause

type node struct {
	left, right, any *node
	other            [3]uint64
	block            *node
}

const (
	rest = iota
	base
	cycle
	nphases
)

var (
	root    *node
	leader  []*node
	nnodes  int
	nhot    int64
	phase   int64
	isOver  int32
	delay   [nphases]delays
	spent   [nphases]int64
	nops    [nphases]int64
	cpuOf   [nphases]int64
	longest int64
)

func commonDivisor(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func build(mib int, isRandom bool) {
	nnodes = mib << 20 / 64
	memory, err := syscall.Mmap(-1, 0, nnodes*8, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		panic(err)
	}
	table := unsafe.Slice((**node)(unsafe.Pointer(&memory[0])), nnodes)
	leader = make([]*node, nnodes/64)
	debug.SetGCPercent(-1)
	for i := range table {
		table[i] = new(node)
		if i%64 == 0 && i/64 < len(leader) {
			leader[i/64] = table[i]
		}
	}
	stride := 1
	if isRandom {
		stride = int(float64(nnodes)*0.6180339887) | 1
	}
	for commonDivisor(stride, nnodes) != 1 {
		stride += 2
	}
	seed := uint64(88172645463325252)
	at := 0
	for i := 0; i < nnodes; i++ {
		n := table[at]
		if 2*i+1 < nnodes {
			n.left = table[(2*i+1)*stride%nnodes]
		}
		if 2*i+2 < nnodes {
			n.right = table[(2*i+2)*stride%nnodes]
		}
		n.any = table[(at+1)%nnodes]
		if isRandom {
			n.any = table[randomBelow(&seed, nnodes)]
		}
		for k := range n.other {
			n.other[k] = uint64(i*5 + k)
		}
		at = (at + stride) % nnodes
	}
	root = table[0]
	syscall.Munmap(memory)
}

func mutate(over chan bool) {
	runtime.LockOSThread()
	seed := uint64(1234567)
	last, cpu, now := nowNs(), clockNs(3), int64(0)
	was := rest
	for batch := 0; atomic.LoadInt32(&isOver) == 0; batch++ {
		hot := int(atomic.LoadInt64(&nhot))
		if hot == 0 {
			time.Sleep(time.Millisecond)
			last = nowNs()
			continue
		}
		for i := 0; i < 32; i++ {
			a, b := leader[randomBelow(&seed, hot)], leader[randomBelow(&seed, hot)]
			a.any, b.any = b.any, a.any
		}
		if batch%32 == 0 {
			leader[randomBelow(&seed, hot)].block = &node{any: root}
		}
		now = nowNs()
		next := int(atomic.LoadInt64(&phase))
		is := was
		if next == cycle {
			is = next
		}
		delay[is].note(now - last)
		spent[is] += now - last
		nops[is] += 32
		if now-last > atomic.LoadInt64(&longest) {
			atomic.StoreInt64(&longest, now-last)
		}
		last = now
		if next != was {
			used := clockNs(3)
			cpuOf[was] += used - cpu
			cpu, was = used, next
		}
	}
	over <- true
}

func speed(of int, ns *[nphases]int64) float64 {
	if ns[of] == 0 {
		return 0
	}
	return float64(nops[of]) * 1000 / float64(ns[of])
}

func partOfBase(of int, ns *[nphases]int64) float64 {
	if speed(base, ns) == 0 {
		return 0
	}
	return speed(of, ns) / speed(base, ns)
}

func goThrough(which int64, ms int) {
	atomic.StoreInt64(&phase, which)
	time.Sleep(time.Duration(ms) * time.Millisecond)
	atomic.StoreInt64(&phase, rest)
}

func measure(hot string, baseMs, ncycles int) {
	var took, used, longests []int64
	percent, _ := strconv.ParseFloat(hot, 64)
	n := int64(0)
	if percent > 0 {
		n = int64(float64(len(leader))*percent/100) + 1
	}
	if n > int64(len(leader)) {
		n = int64(len(leader))
	}
	atomic.StoreInt64(&nhot, n)
	time.Sleep(200 * time.Millisecond)
	delay, spent, nops, cpuOf = [nphases]delays{}, [nphases]int64{}, [nphases]int64{}, [nphases]int64{}
	most := int64(0)
	for i := 0; i < ncycles; i++ {
		goThrough(base, baseMs)
		time.Sleep(20 * time.Millisecond)
		others := cpuOf[cycle]
		atomic.StoreInt64(&longest, 0)
		atomic.StoreInt64(&phase, cycle)
		started, cpu := nowNs(), cpuNs()
		runtime.GC()
		took, cpu = append(took, nowNs()-started), cpuNs()-cpu
		atomic.StoreInt64(&phase, rest)
		time.Sleep(20 * time.Millisecond)
		if n > 0 {
			cpu -= cpuOf[cycle] - others
		}
		used = append(used, cpu)
		longests = append(longests, longest)
		if longest > most {
			most = longest
		}
	}
	fmt.Printf("hot=%s nodes=%d cycle_ms=%.2f cycle_cpu_ms=%.2f stall_us=%.1f stall_median_us=%.1f "+
		"stall_999_us=%.1f stall_99_us=%.1f base_us=%.1f speed=%.3f speed_cpu=%.3f "+
		"base_mops=%.2f rss_mib=%d\n",
		hot, nnodes, float64(median(took))/1e6, float64(median(used))/1e6, float64(most)/1e3,
		float64(median(longests))/1e3, delay[cycle].quantile(0.999)/1e3,
		delay[cycle].quantile(0.99)/1e3, float64(delay[base].longest)/1e3,
		partOfBase(cycle, &spent), partOfBase(cycle, &cpuOf), speed(base, &spent), statusMib("VmRSS:"))
}

func pause(args []string) {
	over := make(chan bool)
	build(number(args[0]), args[1] == "random")
	go mutate(over)
	runtime.GC()
	for _, hot := range strings.Split(args[2], ",") {
		measure(hot, number(args[3]), number(args[4]))
	}
	atomic.StoreInt32(&isOver, 1)
	<-over
	runtime.KeepAlive(root)
}

// ---- trees

type tree struct{ left, right *tree }

func makeTree(depth int) *tree {
	if depth == 0 {
		return &tree{}
	}
	return &tree{makeTree(depth - 1), makeTree(depth - 1)}
}

func (t *tree) nodes() int {
	if t == nil {
		return 0
	}
	return 1 + t.left.nodes() + t.right.nodes()
}

func trees(args []string) {
	depth := number(args[0])
	sum := makeTree(depth + 1).nodes()
	kept := makeTree(depth)
	for d := 4; d <= depth; d += 2 {
		for i := 1 << (depth - d + 4); i > 0; i-- {
			sum += makeTree(d).nodes()
		}
	}
	sum += kept.nodes()
	fmt.Printf("elapsed_s=%.3f cpu_s=%.3f peak_mib=%d sum=%d\n", float64(nowNs())/1e9,
		float64(cpuNs())/1e9, statusMib("VmHWM:"), sum)
}

// ---- cache

type entry struct {
	next  *entry
	value *byte
	key   uint64
}

var (
	bucket            []*entry
	firstKey, nextKey uint64
	nentries          int
	liveBytes, nfound int
	latest, userNs    int64
)

func placeOf(key uint64) **entry {
	at := &bucket[key*0x9e3779b97f4a7c15>>20&uint64(len(bucket)-1)]
	for *at != nil && (*at).key != key {
		at = &(*at).next
	}
	return at
}

func valueBytes(key uint64) int { return 16 + int(key*2654435761>>7&63) }

func insert() {
	value := make([]byte, valueBytes(nextKey))
	for i := range value {
		value[i] = byte(nextKey)
	}
	e := &entry{nil, &value[0], nextKey}
	*placeOf(nextKey) = e
	nextKey++
	liveBytes += int(unsafe.Sizeof(*e)) + len(value)
}

func evictOldest() {
	at := placeOf(firstKey)
	liveBytes -= int(unsafe.Sizeof(entry{})) + valueBytes(firstKey)
	*at = (*at).next
	firstKey++
}

func use(percent int, over chan bool) {
	runtime.LockOSThread()
	seed, due, owed := uint64(987654321), nowNs(), 0.0
	for atomic.LoadInt32(&isOver) == 0 {
		for owed += float64(nentries) * float64(percent) / 100 / 1000; owed >= 1; owed-- {
			evictOldest()
			insert()
		}
		for i := 0; i < 4*nentries/100/1000; i++ {
			key := firstKey + uint64(randomBelow(&seed, nentries))
			if e := *placeOf(key); e != nil && *e.value == byte(key) {
				nfound++
			}
		}
		now := nowNs()
		atomic.StoreInt64(&userNs, clockNs(3))
		if now-due > latest {
			latest = now - due
		}
		if due += 1000000; now < due {
			time.Sleep(time.Duration(due - now))
		} else {
			due = now
		}
	}
	over <- true
}

func cache(args []string) {
	var took, used []int64
	over := make(chan bool)
	nentries = number(args[0])
	n := 1
	for n < nentries {
		n *= 2
	}
	bucket = make([]*entry, n)
	for int(nextKey) < nentries {
		insert()
	}
	fmt.Printf("fill_s=%.2f fill_cpu_s=%.2f ", float64(nowNs())/1e9, float64(cpuNs())/1e9)
	go use(number(args[1]), over)
	time.Sleep(100 * time.Millisecond)
	latest = 0
	cpu := cpuNs()
	every := number(args[3])
	for end := nowNs() + int64(number(args[2]))*1e9; nowNs() < end; {
		if every == 0 {
			time.Sleep(time.Duration(end - nowNs()))
			continue
		}
		time.Sleep(time.Duration(every) * time.Millisecond)
		at, was, user := nowNs(), cpuNs(), atomic.LoadInt64(&userNs)
		runtime.GC()
		took = append(took, nowNs()-at)
		used = append(used, cpuNs()-was-(atomic.LoadInt64(&userNs)-user))
	}
	atomic.StoreInt32(&isOver, 1)
	<-over
	fmt.Printf("full_ms=%.2f full_cpu_ms=%.2f nfull=%d ", float64(median(took))/1e6,
		float64(median(used))/1e6, len(took))
	fmt.Printf("cpu_s=%.2f late_us=%.0f rss_mib=%d peak_mib=%d live_mib=%d found=%d\n",
		float64(cpuNs()-cpu)/1e9, float64(latest)/1e3, statusMib("VmRSS:"), statusMib("VmHWM:"),
		(liveBytes+len(bucket)*8)>>20, nfound)
}

func main() {
	kinds := map[string]func([]string){"pause": pause, "trees": trees, "cache": cache}
	if len(os.Args) < 3 || kinds[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: gc_go pause|trees|cache ARGUMENTS")
		os.Exit(1)
	}
	kinds[os.Args[1]](os.Args[2:])
}
