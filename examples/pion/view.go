package main

import (
	"fmt"
	"log"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
	"github.com/pion/webrtc/v4/pkg/media/ivfwriter"
	"github.com/pion/webrtc/v4/pkg/media/oggwriter"
)

// view answers the offers of the server and keeps what arrives in files in a folder.
func view(s *signal, folder string) error {
	var pc *webrtc.PeerConnection
	for m := range s.coming {
		switch m.Type {
		case "closed":
			return fmt.Errorf("closed: %s", m.Code)
		case "transport_lost":
			pc.Close()
			pc = nil
		case "offer":
			if pc == nil {
				var err error
				if pc, err = newViewer(folder); err != nil {
					return err
				}
			}
			if err := answer(s, pc, m); err != nil {
				return err
			}
		}
	}
	return nil
}

func newViewer(folder string) (*webrtc.PeerConnection, error) {
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		log.Println("subscribe transport", state)
	})
	pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		// The stream is named after its participant, the track after its publication.
		log.Println("track", track.Codec().MimeType, "of", track.StreamID(), "is", track.ID())
		if err := keep(pc, track, folder); err != nil {
			log.Println("track", track.ID(), err)
		}
	})
	return pc, nil
}

func answer(s *signal, pc *webrtc.PeerConnection, offer message) error {
	description := webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer.SDP}
	if err := pc.SetRemoteDescription(description); err != nil {
		return err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return err
	}
	<-gathered
	_, err = s.request(message{Type: "answer", Seq: offer.Seq, SDP: pc.LocalDescription().SDP})
	return err
}

var tracks atomic.Int32

// keep writes a track into a file until it ends. After packets that stayed lost it asks for a keyframe.
func keep(pc *webrtc.PeerConnection, track *webrtc.TrackRemote, folder string) error {
	name := filepath.Join(folder, fmt.Sprintf("%d-%s", tracks.Add(1), track.Kind()))
	var writer media.Writer
	var err error
	if track.Kind() == webrtc.RTPCodecTypeAudio {
		writer, err = oggwriter.New(name+".ogg", 48000, 2)
	} else {
		writer, err = ivfwriter.New(name+".ivf", ivfwriter.WithCodec(track.Codec().MimeType))
	}
	if err != nil {
		return err
	}
	defer writer.Close()
	var last uint16
	var asked time.Time
	for count := 0; ; count++ {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return err
		}
		lost := count > 0 && int16(packet.SequenceNumber-last) > 1
		if lost && track.Kind() == webrtc.RTPCodecTypeVideo && time.Since(asked) > time.Second {
			asked = time.Now()
			pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(track.SSRC())}})
		}
		last = packet.SequenceNumber
		if len(packet.Payload) == 0 {
			continue // Padding probes what the path carries.
		}
		if err := writer.WriteRTP(packet); err != nil {
			// Go on reading: what is not read is not in the feedback, so the server takes it for lost.
			log.Println(name, err)
		}
	}
}
