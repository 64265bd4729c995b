package redistest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// A Cluster is a Redis Cluster that one test owns: three masters that share the
// slots equally, and a replica of the first.
type Cluster struct {
	Masters [3]*Server
	Replica *Server

	tb   testing.TB
	rdbs map[*Server]*redis.Client
}

const (
	slots = 16384
	// nodeTimeout is after what time a node that is gone counts as such.
	nodeTimeout = time.Second
	// clusterPatience bounds every wait.
	clusterPatience = 30 * time.Second
)

// StartCluster starts a cluster and returns once it is whole. As with Start, it
// is killed when the test ends.
func StartCluster(tb testing.TB) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb, rdbs: map[*Server]*redis.Client{}}
	bus := map[*Server]string{}
	node := func() *Server {
		_, port, err := net.SplitHostPort(freeAddr(tb))
		if err != nil {
			tb.Fatal(err)
		}
		s := start(tb, "--cluster-enabled", "yes", "--cluster-port", port,
			"--cluster-node-timeout", strconv.FormatInt(nodeTimeout.Milliseconds(), 10), "--repl-diskless-sync-delay", "0")
		bus[s], c.rdbs[s] = port, s.Client()
		return s
	}
	for i := range c.Masters {
		c.Masters[i] = node()
		first, last := i*slots/3, (i+1)*slots/3-1
		c.do(c.Masters[i], "CLUSTER", "ADDSLOTSRANGE", first, last)
		c.do(c.Masters[i], "CLUSTER", "SET-CONFIG-EPOCH", i+1)
	}
	c.Replica = node()
	for _, s := range []*Server{c.Masters[1], c.Masters[2], c.Replica} {
		host, port, err := net.SplitHostPort(s.addr)
		if err != nil {
			tb.Fatal(err)
		}
		c.do(c.Masters[0], "CLUSTER", "MEET", host, port, bus[s])
	}
	c.whole()
	id := c.do(c.Masters[0], "CLUSTER", "MYID")
	c.until("the replica to know its master", func() bool {
		return c.rdbs[c.Replica].Do(context.Background(), "CLUSTER", "REPLICATE", id).Err() == nil
	})
	c.until("the replica to follow its master", func() bool {
		info, err := c.rdbs[c.Replica].Info(context.Background(), "replication").Result()
		return err == nil && strings.Contains(info, "master_link_status:up")
	})
	c.until("the replica to be known", func() bool {
		nodes, err := c.rdbs[c.Masters[2]].ClusterNodes(context.Background()).Result()
		return err == nil && strings.Contains(nodes, "slave")
	})
	return c
}

// Client returns a new client of the cluster, which is closed when the test
// ends.
func (c *Cluster) Client() *redis.ClusterClient {
	var addrs []string
	for _, s := range c.Masters {
		addrs = append(addrs, s.addr)
	}
	rdb := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs:                    addrs,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	c.tb.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// ShowReplica returns once the masters tell clients of the replica, which takes
// them some seconds.
func (c *Cluster) ShowReplica() {
	c.tb.Helper()
	c.do(c.Masters[0], "PUBLISH", "replica", "known") // nobody is told of a replica that was never sent anything
	for _, s := range c.Masters {
		c.until("the replica to be known", func() bool {
			all, _ := c.do(s, "CLUSTER", "SLOTS").([]any) // each the first, the last, the master, replicas
			return slices.ContainsFunc(all, func(slots any) bool { of, _ := slots.([]any); return len(of) > 3 })
		})
	}
}

// Fail kills the first master, and returns once its replica has taken over.
func (c *Cluster) Fail() {
	c.tb.Helper()
	c.Masters[0].Stop()
	c.until("the replica to take over", func() bool {
		info, err := c.rdbs[c.Replica].Info(context.Background(), "replication").Result()
		return err == nil && strings.Contains(info, "role:master") && c.state(c.Replica) && c.state(c.Masters[1])
	})
}

// Move moves the slot of a key from its master to the next one. While it is
// under way it calls during.
func (c *Cluster) Move(key string, during func()) {
	c.tb.Helper()
	slot := c.do(c.Masters[1], "CLUSTER", "KEYSLOT", key)
	n, err := strconv.Atoi(fmt.Sprint(slot))
	if err != nil {
		c.tb.Fatal(err)
	}
	i := 0
	for n >= (i+1)*slots/3 {
		i++
	}
	from, to := c.Masters[i], c.Masters[(i+1)%3]
	c.settled()
	source, target := c.do(from, "CLUSTER", "MYID"), c.do(to, "CLUSTER", "MYID")
	c.do(to, "CLUSTER", "SETSLOT", n, "IMPORTING", source)
	c.do(from, "CLUSTER", "SETSLOT", n, "MIGRATING", target)
	host, port, err := net.SplitHostPort(to.addr)
	if err != nil {
		c.tb.Fatal(err)
	}
	during()
	for {
		keys, err := c.rdbs[from].ClusterGetKeysInSlot(context.Background(), n, 100).Result()
		if err != nil {
			c.tb.Fatal(err)
		}
		if len(keys) == 0 {
			break
		}
		args := []any{"MIGRATE", host, port, "", 0, 5000, "KEYS"}
		for _, k := range keys {
			args = append(args, k)
		}
		c.do(from, args...)
	}
	for agreed := false; !agreed; { // what one is told may be undone by what another says
		for _, s := range []*Server{to, from, c.Masters[(i+2)%3]} {
			c.do(s, "CLUSTER", "SETSLOT", n, "NODE", target)
		}
		c.settled()
		agreed = true
		for _, s := range c.Masters {
			err := c.rdbs[s].Exists(context.Background(), key).Err()
			agreed = agreed && (s == to && err == nil || s != to && redis.HasErrorPrefix(err, fmt.Sprintf("MOVED %d %s", n, to.addr)))
		}
	}
}

// Unserve has nobody serve the slot of a key while during runs: the cluster is down.
func (c *Cluster) Unserve(key string, during func()) {
	c.tb.Helper()
	c.settled()
	slot := c.do(c.Masters[1], "CLUSTER", "KEYSLOT", key)
	var owner *Server
	for _, s := range c.Masters {
		if c.rdbs[s].Exists(context.Background(), key).Err() == nil {
			owner = s
		}
	}
	for _, s := range c.Masters { // each has its own view
		c.do(s, "CLUSTER", "DELSLOTS", slot)
	}
	during()
	c.do(owner, "CLUSTER", "ADDSLOTS", slot)
	c.whole()
}

// settled waits until the masters have epochs of their own, and all know the
// newest. Before that, who moves a slot may undo the move before.
func (c *Cluster) settled() {
	c.tb.Helper()
	c.until("the masters to agree on epochs", func() bool {
		newest, own := map[string]bool{}, map[string]bool{}
		for _, s := range c.Masters {
			info, err := c.rdbs[s].ClusterInfo(context.Background()).Result()
			if err != nil {
				return false
			}
			for line := range strings.Lines(info) {
				switch name, value, _ := strings.Cut(strings.TrimSpace(line), ":"); name {
				case "cluster_current_epoch":
					newest[value] = true
				case "cluster_my_epoch":
					own[value] = true
				}
			}
		}
		return len(newest) == 1 && len(own) == len(c.Masters)
	})
}

// do runs a command on one node.
func (c *Cluster) do(s *Server, args ...any) any {
	c.tb.Helper()
	v, err := c.rdbs[s].Do(context.Background(), args...).Result()
	if err != nil {
		c.tb.Fatalf("%v: %v", args, err)
	}
	return v
}

// whole waits until every node knows of all, and of all slots.
func (c *Cluster) whole() {
	c.tb.Helper()
	for s := range c.rdbs {
		c.until("the cluster to be whole", func() bool { return c.state(s) })
	}
}

func (c *Cluster) state(s *Server) bool {
	info, err := c.rdbs[s].ClusterInfo(context.Background()).Result()
	return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:4")
}

func (c *Cluster) until(what string, ok func() bool) {
	c.tb.Helper()
	limit := time.NewTimer(clusterPatience)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-limit.C:
			c.tb.Fatalf("waiting for %s", what)
		case <-tick.C:
		}
	}
}
