// Which connections the NetworkPolicies allow, as cyclonus reads them, against a table of what they should.
//
// A line is `yes|no  from  to  port`. An end is a component of the release (`web`), an address (`192.0.2.7`),
// `other` (a pod of the namespace that is not ours) or `namespace:name=value,…` (a pod of another namespace).
package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/mattfenwick/cyclonus/pkg/matcher"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// traffic says which lines of the table do not hold.
func traffic(table string, files []string) error {
	documents, err := load(files)
	if err != nil {
		return err
	}
	var policies []*networkingv1.NetworkPolicy
	for _, document := range documents {
		if document["kind"] == "NetworkPolicy" {
			policy, err := as[networkingv1.NetworkPolicy](document)
			if err != nil {
				return fmt.Errorf("%s: %w", nameOf(document), err)
			}
			policies = append(policies, &policy)
		}
	}
	if len(policies) == 0 {
		return fmt.Errorf("no NetworkPolicy in %v", files)
	}
	built := matcher.BuildNetworkPolicies(true, policies)
	world := world{namespace: policies[0].Namespace, release: policies[0].Labels["app.kubernetes.io/instance"]}
	rows, err := rowsOf(table, 4)
	if err != nil {
		return err
	}
	var wrong []string
	for _, row := range rows {
		port, err := strconv.Atoi(row.cells[3])
		if err != nil {
			return fmt.Errorf("%s:%d: %s is no port", table, row.line, row.cells[3])
		}
		protocol := corev1.ProtocolTCP
		if port == 53 {
			protocol = corev1.ProtocolUDP
		}
		result := built.IsTrafficAllowed(&matcher.Traffic{
			Source: world.peer(row.cells[1]), Destination: world.peer(row.cells[2]),
			ResolvedPort: port, Protocol: protocol,
		})
		if result.IsAllowed() != row.expected {
			wrong = append(wrong, fmt.Sprintf("%s:%d: from %s to %s on %d: allowed is %v", table, row.line, row.cells[1], row.cells[2], port, result.IsAllowed()))
		}
	}
	return all(wrong)
}

// Where our pods are.
type world struct{ namespace, release string }

func (w world) peer(end string) *matcher.TrafficPeer {
	if net.ParseIP(end) != nil {
		return &matcher.TrafficPeer{IP: end}
	}
	namespace, labels := w.namespace, map[string]string{}
	if foreign, pairs, is := strings.Cut(end, ":"); is {
		namespace = foreign
		for _, pair := range strings.Split(pairs, ",") {
			name, value, _ := strings.Cut(pair, "=")
			labels[name] = value
		}
	} else if end != "other" {
		labels["app.kubernetes.io/name"] = "drctl"
		labels["app.kubernetes.io/instance"] = w.release
		labels["app.kubernetes.io/component"] = end
	}
	return &matcher.TrafficPeer{
		Internal: &matcher.InternalPeer{
			Namespace:       namespace,
			NamespaceLabels: map[string]string{"kubernetes.io/metadata.name": namespace},
			PodLabels:       labels,
		},
		IP: "10.244.0.9",
	}
}

// A line of a table.
type row struct {
	line     int
	expected bool
	cells    []string
}

// rowsOf reads a table whose lines begin with yes or no.
func rowsOf(path string, width int) ([]row, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var rows []row
	seen := map[bool]bool{}
	for number, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		cells := strings.Fields(line)
		if len(cells) == 0 {
			continue
		}
		if len(cells) != width || (cells[0] != "yes" && cells[0] != "no") {
			return nil, fmt.Errorf("%s:%d: not a line of the table", path, number+1)
		}
		expected := cells[0] == "yes"
		seen[expected] = true
		rows = append(rows, row{line: number + 1, expected: expected, cells: cells})
	}
	if !seen[true] || !seen[false] {
		return nil, fmt.Errorf("%s: a table that cannot fail: it needs yes and no", path)
	}
	return rows, nil
}
