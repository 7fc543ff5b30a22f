// A publisher and a viewer, written from docs/protocol.md and docs/media.md with Pion alone.
package main

import (
	"flag"
	"log"
	"time"
)

func main() {
	url := flag.String("url", "ws://localhost:7880/signal", "the server's signalling")
	room := flag.String("room", "pion", "the room to join")
	name := flag.String("name", "Pion", "the participant's name")
	token := flag.String("token", "", "a token, where the server wants one")
	video := flag.String("video", "", "publish this IVF file (VP8, VP9 or AV1)")
	audio := flag.String("audio", "", "publish this Ogg file (Opus, pages of 20 ms) as well")
	folder := flag.String("view", "", "keep what the others publish in this folder")
	duration := flag.Duration("for", 0, "leave after this long; 0: stay")
	flag.Parse()

	s, err := join(*url, *room, *name, *token)
	if err != nil {
		log.Fatal("join: ", err)
	}
	ended := make(chan error, 2)
	if *video != "" {
		go func() { ended <- publish(s, *video, *audio) }()
	}
	if *folder != "" {
		go func() { ended <- view(s, *folder) }()
	}
	var over <-chan time.Time
	if *duration > 0 {
		over = time.After(*duration)
	}
	select {
	case err := <-ended:
		log.Fatal("ended: ", err)
	case <-over:
		if _, err := s.request(message{Type: "leave"}); err != nil {
			log.Fatal("leave: ", err)
		}
	}
}
