package fetch

import "wagent/gateway"

// For tests against a real client, which read messages as package content does,
// and that imports this one.

// Memory is a Store in memory.
type Memory = memory

// NewMemory returns an empty one.
var NewMemory = newMemory

// Add adds the file of a message.
func (s *memory) Add(id gateway.MessageID, externalID string, a *gateway.Attachment) {
	s.add(id, externalID, a)
}

// Get returns a message's file and its bytes.
func (s *memory) Get(id gateway.MessageID) (gateway.Media, string) {
	m := s.get(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return m, string(s.data[id])
}

// Changed is sent to when something was settled.
func (s *memory) Changed() <-chan struct{} { return s.changed }
