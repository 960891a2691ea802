// server PORT echo|sink: a goroutine for each connection, which has a buffer of 64 KiB.
package main

import (
	"fmt"
	"net"
	"os"
)

func serve(stream net.Conn, sink bool) {
	defer stream.Close()
	buffer := make([]byte, 65536) // no delay is Go's default
	for {
		length, err := stream.Read(buffer)
		if err != nil {
			return
		}
		if sink {
			continue
		}
		if _, err = stream.Write(buffer[:length]); err != nil {
			return
		}
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		panic(err)
	}
	fmt.Println("listening on", listener.Addr())
	for {
		if stream, err := listener.Accept(); err == nil {
			go serve(stream, os.Args[2] == "sink")
		}
	}
}
