package main

import (
	"bytes"
	"errors"
	"io"
	"log"
	"os"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"
)

var mimeTypes = map[string]string{
	"VP80": webrtc.MimeTypeVP8, "VP90": webrtc.MimeTypeVP9, "AV01": webrtc.MimeTypeAV1,
}

// publish sends an IVF file as the camera, and an Ogg file with Opus as the microphone where there is one.
func publish(s *signal, video, audio string) error {
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return err
	}
	connected := make(chan struct{})
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		log.Println("publish transport", state)
		if state == webrtc.PeerConnectionStateConnected {
			close(connected)
		}
	})
	feeds, sources := []func() error{}, map[string]string{}
	add := func(mimeType, source string, play func(*webrtc.TrackLocalStaticSample) error) error {
		capability := webrtc.RTPCodecCapability{MimeType: mimeType}
		track, err := webrtc.NewTrackLocalStaticSample(capability, source, "pion")
		if err != nil {
			return err
		}
		sendonly := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}
		transceiver, err := pc.AddTransceiverFromTrack(track, sendonly)
		if err != nil {
			return err
		}
		sources[source] = source
		feeds = append(feeds, func() error { return play(track) })
		go discard(transceiver.Sender()) // Interceptors see RTCP only when it is read.
		return nil
	}
	file, err := os.Open(video)
	if err != nil {
		return err
	}
	_, header, err := ivfreader.NewWith(file)
	if err != nil {
		return err
	}
	file.Close()
	if err := add(mimeTypes[header.FourCC], "camera", func(t *webrtc.TrackLocalStaticSample) error {
		return playVideo(t, video)
	}); err != nil {
		return err
	}
	if audio != "" {
		if err := add(webrtc.MimeTypeOpus, "microphone", func(t *webrtc.TrackLocalStaticSample) error {
			return playAudio(t, audio)
		}); err != nil {
			return err
		}
	}

	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		return err
	}
	<-gathered
	request := message{Type: "offer", SDP: pc.LocalDescription().SDP}
	for _, transceiver := range pc.GetTransceivers() {
		source := sources[transceiver.Sender().Track().ID()]
		request.Media = append(request.Media, mediaMap{Mid: transceiver.Mid(), Source: source})
	}
	answer, err := s.request(request)
	if err != nil {
		return err
	}
	for _, line := range answer.Media {
		log.Println("m-line", line.Mid, "publication", line.Publication, line.Error)
	}
	description := webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer.SDP}
	if err := pc.SetRemoteDescription(description); err != nil {
		return err
	}
	<-connected
	ended := make(chan error, len(feeds))
	for _, feed := range feeds {
		go func() { ended <- feed() }()
	}
	return <-ended
}

func discard(sender *webrtc.RTPSender) {
	for {
		if _, _, err := sender.ReadRTCP(); err != nil {
			return
		}
	}
}

// playVideo sends the file again and again. It cannot make a keyframe when the server asks for one (PLI), so
// the file needs one every second or two.
func playVideo(track *webrtc.TrackLocalStaticSample, name string) error {
	for {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		reader, header, err := ivfreader.NewWith(file)
		if err != nil {
			return err
		}
		duration := time.Second * time.Duration(header.TimebaseNumerator) / time.Duration(header.TimebaseDenominator)
		ticker := time.NewTicker(duration)
		for range ticker.C {
			frame, _, err := reader.ParseNextFrame()
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return err
			}
			if err := track.WriteSample(media.Sample{Data: frame, Duration: duration}); err != nil {
				return err
			}
		}
		ticker.Stop()
		file.Close()
	}
}

// playAudio sends the file again and again, in pages of 20 ms.
func playAudio(track *webrtc.TrackLocalStaticSample, name string) error {
	for {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		reader, _, err := oggreader.NewWith(file)
		if err != nil {
			return err
		}
		ticker := time.NewTicker(20 * time.Millisecond)
		for range ticker.C {
			page, _, err := reader.ParseNextPage()
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return err
			}
			if bytes.HasPrefix(page, []byte("OpusTags")) {
				continue
			}
			sample := media.Sample{Data: page, Duration: 20 * time.Millisecond}
			if err := track.WriteSample(sample); err != nil {
				return err
			}
		}
		ticker.Stop()
		file.Close()
	}
}
