// client PORT CONNS SIZE SECS: ping-pong, a goroutine for each connection.
// Prints JSON: what was done, in how long, with how much CPU time.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func cpuMicroseconds() int64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return usage.Utime.Nano()/1000 + usage.Stime.Nano()/1000
}

func play(stream net.Conn, size int, end time.Time) (done int64) {
	message, buffer := make([]byte, size), make([]byte, size)
	for time.Now().Before(end) {
		for i := 0; i < 16; i++ {
			if _, err := stream.Write(message); err != nil {
				panic(err)
			}
			if _, err := io.ReadFull(stream, buffer); err != nil {
				panic(err)
			}
		}
		done += 16
	}
	return done
}

func main() {
	count, _ := strconv.Atoi(os.Args[2])
	size, _ := strconv.Atoi(os.Args[3])
	secs, _ := strconv.ParseFloat(os.Args[4], 64)
	streams := make([]net.Conn, count)
	for i := range streams {
		stream, err := net.Dial("tcp", "127.0.0.1:"+os.Args[1])
		if err != nil {
			panic(err)
		}
		streams[i] = stream
	}
	var done int64
	var players sync.WaitGroup
	start, cpu := time.Now(), cpuMicroseconds()
	end := start.Add(time.Duration(secs * 1e9))
	for _, stream := range streams {
		players.Add(1)
		go func(stream net.Conn) {
			atomic.AddInt64(&done, play(stream, size, end))
			players.Done()
		}(stream)
	}
	players.Wait()
	fmt.Printf("{\"ops\":%d,\"secs\":%.6f,\"cpu_us\":%d}\n", done, time.Since(start).Seconds(), cpuMicroseconds()-cpu)
}
