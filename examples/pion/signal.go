package main

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// message is one JSON object of the protocol. Members that are not listed here are ignored, as it asks.
type message struct {
	Type         string     `json:"type"`
	ID           int        `json:"id,omitempty"`
	Version      int        `json:"version,omitempty"`
	Room         any        `json:"room,omitempty"`
	Name         string     `json:"name,omitempty"`
	Token        string     `json:"token,omitempty"`
	Seq          int        `json:"seq,omitempty"`
	SDP          string     `json:"sdp,omitempty"`
	Media        []mediaMap `json:"media,omitempty"`
	Transport    string     `json:"transport,omitempty"`
	Code         string     `json:"code,omitempty"`
	Message      string     `json:"message,omitempty"`
	PingInterval float64    `json:"ping_interval_s,omitempty"`
}

type mediaMap struct {
	Mid         string `json:"mid"`
	Source      string `json:"source,omitempty"`
	Publication string `json:"publication,omitempty"`
	Error       string `json:"error,omitempty"`
}

// signal is one session over a WebSocket: requests with their answers, and messages that come by themselves.
type signal struct {
	socket  *websocket.Conn
	coming  chan message
	mutex   sync.Mutex
	pending map[int]chan message
	lastID  int
}

// join connects, joins the room and keeps the session alive.
func join(url, room, name, token string) (*signal, error) {
	socket, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		return nil, err
	}
	s := &signal{socket: socket, coming: make(chan message, 64), pending: map[int]chan message{}}
	go s.read()
	joined, err := s.request(message{Type: "join", Version: 1, Room: room, Name: name, Token: token})
	if err != nil {
		return nil, err
	}
	go func() {
		for range time.Tick(time.Duration(joined.PingInterval * float64(time.Second))) {
			s.request(message{Type: "ping"})
		}
	}()
	return s, nil
}

// request sends a message and waits for the message that answers it.
func (s *signal) request(m message) (message, error) {
	answer := make(chan message, 1)
	s.mutex.Lock()
	s.lastID++
	m.ID = s.lastID
	s.pending[m.ID] = answer
	err := s.socket.WriteJSON(m)
	s.mutex.Unlock()
	if err != nil {
		return m, err
	}
	select {
	case m = <-answer:
	case <-time.After(15 * time.Second):
		return m, fmt.Errorf("%s was not answered", m.Type)
	}
	if m.Type == "error" {
		return m, fmt.Errorf("%s: %s", m.Code, m.Message)
	}
	return m, nil
}

// read hands out what comes until the connection ends, which closes `coming`.
func (s *signal) read() {
	defer close(s.coming)
	for {
		_, text, err := s.socket.ReadMessage()
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(text, &m) != nil {
			// A member that this client does not use has another form elsewhere.
			continue
		}
		s.mutex.Lock()
		answer := s.pending[m.ID]
		delete(s.pending, m.ID)
		s.mutex.Unlock()
		switch {
		case answer != nil:
			answer <- m
		case m.Type == "offer" || m.Type == "transport_lost" || m.Type == "closed":
			s.coming <- m
		}
	}
}
