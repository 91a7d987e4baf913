// What enforces NetworkPolicies: the reference engine of the project. The rules of node.sh queue the first packet of
// each connection of a pod for it, and it answers from what the API server says.
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/kube-network-policies/pkg/networkpolicy"
)

// As the rules of node.sh have it.
const policiesQueue = 100

func newPoliciesCommand(ctx context.Context) *cobra.Command {
	return &cobra.Command{Use: "policies", RunE: func(*cobra.Command, []string) error {
		config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
		if err != nil {
			return err
		}
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			return err
		}
		factory := informers.NewSharedInformerFactory(client, 0)
		// Neither kind of administrators' policies, which are not part of Kubernetes itself.
		engine, err := networkpolicy.NewController(client, factory.Networking().V1().NetworkPolicies(),
			factory.Core().V1().Namespaces(), factory.Core().V1().Pods(), nil, nil, nil, nil,
			networkpolicy.Config{QueueID: policiesQueue})
		if err != nil {
			return err
		}
		factory.Start(ctx.Done())
		return engine.Run(ctx)
	}}
}
