// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * A NIC that does not exist: two ports that are wired to each other, each with receive queues, RSS contexts and flow rules
 * that lead packets to them, as real NICs have and no NIC of the lab. Packets go to the queue that rules and tables say;
 * `ethtool -S` counts them by queue. What of a real driver's ways tests need is a parameter of the module.
 */
#include <linux/ethtool.h>
#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/platform_device.h>
#include <linux/version.h>

#define QUEUES 8
#define TABLE 64
#define CONTEXTS 8
#define RULES 16
#define PORTS 2

static bool no_rest;
module_param(no_rest, bool, 0644);
MODULE_PARM_DESC(no_rest, "refuses rules of IP without a transport");

static bool any_place;
module_param(any_place, bool, 0644);
MODULE_PARM_DESC(any_place, "chooses the places of rules itself");

struct rule {
	bool used;
	u32 context;
	struct ethtool_rx_flow_spec flow;
};

struct port {
	struct net_device *dev;
	struct platform_device *parent;
	struct port *peer;
	spinlock_t lock;
	struct rule rules[RULES];
	u32 tables[CONTEXTS][TABLE];
	u64 received[QUEUES];
};

static struct port *ports[PORTS];

static struct port *port_of(struct net_device *dev)
{
	return *(struct port **)netdev_priv(dev);
}

struct headers {
	bool v6;
	u8 protocol;
	const void *to;
};

/* Behind the tag of a VLAN too: a rule that names no VLAN is one of all. */
static bool parse(struct sk_buff *skb, struct headers *found)
{
	__be16 protocol = skb->protocol;
	int at = ETH_HLEN;

	if (eth_type_vlan(protocol) && pskb_may_pull(skb, VLAN_ETH_HLEN)) {
		protocol = ((struct vlan_ethhdr *)skb->data)->h_vlan_encapsulated_proto;
		at = VLAN_ETH_HLEN;
	}
	if (protocol == htons(ETH_P_IP) && pskb_may_pull(skb, at + sizeof(struct iphdr))) {
		struct iphdr *ip = (struct iphdr *)(skb->data + at);

		*found = (struct headers){ false, ip->protocol, &ip->daddr };
		return true;
	}
	if (protocol == htons(ETH_P_IPV6) && pskb_may_pull(skb, at + sizeof(struct ipv6hdr))) {
		struct ipv6hdr *ip = (struct ipv6hdr *)(skb->data + at);

		*found = (struct headers){ true, ip->nexthdr, &ip->daddr };
		return true;
	}
	return false;
}

/* Rules of IP are of what is neither TCP nor UDP, as i40e's are. */
static bool matches(const struct ethtool_rx_flow_spec *flow, const struct headers *found)
{
	bool transport = found->protocol == IPPROTO_TCP || found->protocol == IPPROTO_UDP;

	switch (flow->flow_type & ~FLOW_RSS) {
	case TCP_V4_FLOW:
	case UDP_V4_FLOW:
		return !found->v6 && !memcmp(&flow->h_u.tcp_ip4_spec.ip4dst, found->to, 4) &&
		       found->protocol == ((flow->flow_type & ~FLOW_RSS) == TCP_V4_FLOW ? IPPROTO_TCP : IPPROTO_UDP);
	case IPV4_USER_FLOW:
		return !found->v6 && !transport && !memcmp(&flow->h_u.usr_ip4_spec.ip4dst, found->to, 4);
	case TCP_V6_FLOW:
	case UDP_V6_FLOW:
		return found->v6 && !memcmp(flow->h_u.tcp_ip6_spec.ip6dst, found->to, 16) &&
		       found->protocol == ((flow->flow_type & ~FLOW_RSS) == TCP_V6_FLOW ? IPPROTO_TCP : IPPROTO_UDP);
	case IPV6_USER_FLOW:
		return found->v6 && !transport && !memcmp(flow->h_u.usr_ip6_spec.ip6dst, found->to, 16);
	}
	return false;
}

static u32 queue_for(struct port *port, struct sk_buff *skb)
{
	u32 context = 0, hash = skb_get_hash(skb);
	struct headers found;
	int i;

	if (parse(skb, &found)) {
		for (i = 0; i < RULES; i++) {
			struct rule *rule = &port->rules[i];

			if (!rule->used || !matches(&rule->flow, &found))
				continue;
			if (!(rule->flow.flow_type & FLOW_RSS))
				return rule->flow.ring_cookie;
			context = rule->context;
			break;
		}
	}
	return port->tables[context][hash % TABLE];
}

static netdev_tx_t flowsim_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct port *peer = port_of(dev)->peer;
	unsigned int len = skb->len;
	u32 queue;

	if (!netif_running(peer->dev)) {
		kfree_skb(skb);
		return NETDEV_TX_OK;
	}
	spin_lock_bh(&peer->lock);
	queue = queue_for(peer, skb);
	peer->received[queue]++;
	spin_unlock_bh(&peer->lock);
	skb_tx_timestamp(skb);
	if (__dev_forward_skb(peer->dev, skb)) {
		kfree_skb(skb);
		return NETDEV_TX_OK;
	}
	skb_record_rx_queue(skb, queue);
	netif_rx(skb);
	dev_sw_netstats_tx_add(dev, 1, len);
	return NETDEV_TX_OK;
}

/* Without ntuple there are no rules, and none is taken. */
static int flowsim_set_features(struct net_device *dev, netdev_features_t features)
{
	struct port *port = port_of(dev);

	if (features & NETIF_F_NTUPLE)
		return 0;
	spin_lock_bh(&port->lock);
	memset(port->rules, 0, sizeof(port->rules));
	spin_unlock_bh(&port->lock);
	return 0;
}

static const struct net_device_ops flowsim_ops = {
	.ndo_start_xmit = flowsim_xmit,
	.ndo_set_features = flowsim_set_features,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
};

static u32 count_rules(struct port *port, u32 *places)
{
	u32 i, n = 0;

	for (i = 0; i < RULES; i++)
		if (port->rules[i].used) {
			if (places)
				places[n] = i;
			n++;
		}
	return n;
}

static int flowsim_get_rxnfc(struct net_device *dev, struct ethtool_rxnfc *info, u32 *places)
{
	struct port *port = port_of(dev);

	switch (info->cmd) {
	case ETHTOOL_GRXRINGS: /* of older kernels */
		info->data = QUEUES;
		return 0;
	case ETHTOOL_GRXCLSRLCNT:
		info->rule_cnt = count_rules(port, NULL);
		info->data = RULES | (any_place ? RX_CLS_LOC_SPECIAL : 0);
		return 0;
	case ETHTOOL_GRXCLSRLALL:
		if (info->rule_cnt < count_rules(port, NULL))
			return -EMSGSIZE;
		info->rule_cnt = count_rules(port, places);
		info->data = RULES;
		return 0;
	case ETHTOOL_GRXCLSRULE:
		if (info->fs.location >= RULES || !port->rules[info->fs.location].used)
			return -ENOENT;
		info->rss_context = port->rules[info->fs.location].context;
		info->fs = port->rules[info->fs.location].flow;
		return 0;
	}
	return -EOPNOTSUPP;
}

static int insert(struct port *port, struct ethtool_rxnfc *info)
{
	u32 at = info->fs.location, kind = info->fs.flow_type & ~FLOW_RSS;

	if (no_rest && (kind == IPV4_USER_FLOW || kind == IPV6_USER_FLOW))
		return -EOPNOTSUPP;
	if (at == RX_CLS_LOC_ANY && any_place)
		for (at = 0; at < RULES && port->rules[at].used;)
			at++;
	if (at >= RULES)
		return -ENOSPC;
	info->fs.location = at;
	spin_lock_bh(&port->lock);
	port->rules[at] = (struct rule){ true, info->fs.flow_type & FLOW_RSS ? info->rss_context : 0, info->fs };
	spin_unlock_bh(&port->lock);
	return 0;
}

static int flowsim_set_rxnfc(struct net_device *dev, struct ethtool_rxnfc *info)
{
	struct port *port = port_of(dev);

	switch (info->cmd) {
	case ETHTOOL_SRXCLSRLINS:
		return dev->features & NETIF_F_NTUPLE ? insert(port, info) : -EOPNOTSUPP;
	case ETHTOOL_SRXCLSRLDEL:
		if (info->fs.location >= RULES || !port->rules[info->fs.location].used)
			return -ENOENT;
		spin_lock_bh(&port->lock);
		port->rules[info->fs.location].used = false;
		spin_unlock_bh(&port->lock);
		return 0;
	}
	return -EOPNOTSUPP;
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
static u32 flowsim_rings(struct net_device *dev)
{
	return QUEUES;
}
#endif

static u32 flowsim_table_size(struct net_device *dev)
{
	return TABLE;
}

static int flowsim_get_rxfh(struct net_device *dev, struct ethtool_rxfh_param *rxfh)
{
	rxfh->hfunc = ETH_RSS_HASH_TOP;
	if (rxfh->indir)
		memcpy(rxfh->indir, port_of(dev)->tables[0], sizeof(u32) * TABLE);
	return 0;
}

static void set_table(struct port *port, u32 context, const u32 *table)
{
	spin_lock_bh(&port->lock);
	if (table)
		memcpy(port->tables[context], table, sizeof(u32) * TABLE);
	spin_unlock_bh(&port->lock);
}

static int flowsim_set_rxfh(struct net_device *dev, struct ethtool_rxfh_param *rxfh, struct netlink_ext_ack *extack)
{
	set_table(port_of(dev), 0, rxfh->indir);
	return 0;
}

static int flowsim_set_context(struct net_device *dev, struct ethtool_rxfh_context *ctx,
			       const struct ethtool_rxfh_param *rxfh, struct netlink_ext_ack *extack)
{
	set_table(port_of(dev), rxfh->rss_context, rxfh->indir);
	return 0;
}

static int flowsim_remove_context(struct net_device *dev, struct ethtool_rxfh_context *ctx, u32 id,
				  struct netlink_ext_ack *extack)
{
	return 0;
}

static int flowsim_strings(struct net_device *dev, int set)
{
	return set == ETH_SS_STATS ? QUEUES : -EOPNOTSUPP;
}

static void flowsim_get_strings(struct net_device *dev, u32 set, u8 *data)
{
	int i;

	for (i = 0; i < QUEUES; i++)
		ethtool_sprintf(&data, "rx_queue_%d_packets", i);
}

static void flowsim_get_stats(struct net_device *dev, struct ethtool_stats *stats, u64 *data)
{
	memcpy(data, port_of(dev)->received, sizeof(u64) * QUEUES);
}

static const struct ethtool_ops flowsim_ethtool = {
	.rxfh_max_num_contexts = CONTEXTS,
	.get_link = ethtool_op_get_link,
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
	.get_rx_ring_count = flowsim_rings,
#endif
	.get_rxnfc = flowsim_get_rxnfc,
	.set_rxnfc = flowsim_set_rxnfc,
	.get_rxfh_indir_size = flowsim_table_size,
	.get_rxfh = flowsim_get_rxfh,
	.set_rxfh = flowsim_set_rxfh,
	.create_rxfh_context = flowsim_set_context,
	.modify_rxfh_context = flowsim_set_context,
	.remove_rxfh_context = flowsim_remove_context,
	.get_sset_count = flowsim_strings,
	.get_strings = flowsim_get_strings,
	.get_ethtool_stats = flowsim_get_stats,
};

static void remove_port(struct port *port)
{
	if (!port)
		return;
	if (port->dev) {
		unregister_netdev(port->dev);
		free_netdev(port->dev);
	}
	platform_device_unregister(port->parent);
	kfree(port);
}

static int make_port(int n)
{
	struct port *port = kzalloc(sizeof(*port), GFP_KERNEL);
	struct net_device *dev;
	int i, err;

	if (!port)
		return -ENOMEM;
	port->parent = platform_device_register_simple("flowsim", n, NULL, 0);
	if (IS_ERR(port->parent)) {
		err = PTR_ERR(port->parent);
		kfree(port);
		return err;
	}
	spin_lock_init(&port->lock);
	for (i = 0; i < TABLE; i++)
		port->tables[0][i] = i % QUEUES;
	dev = alloc_etherdev_mqs(sizeof(struct port *), QUEUES, QUEUES);
	if (!dev) {
		remove_port(port);
		return -ENOMEM;
	}
	*(struct port **)netdev_priv(dev) = port;
	SET_NETDEV_DEV(dev, &port->parent->dev);
	snprintf(dev->name, IFNAMSIZ, "flow%d", n);
	eth_hw_addr_random(dev);
	dev->netdev_ops = &flowsim_ops;
	dev->ethtool_ops = &flowsim_ethtool;
	dev->pcpu_stat_type = NETDEV_PCPU_STAT_TSTATS;
	dev->features |= NETIF_F_NTUPLE;
	dev->hw_features |= NETIF_F_NTUPLE;
	err = register_netdev(dev);
	if (err) {
		free_netdev(dev);
		remove_port(port);
		return err;
	}
	port->dev = dev;
	ports[n] = port;
	return 0;
}

static void __exit flowsim_exit(void)
{
	/* None sends to a peer that is gone. */
	rtnl_lock();
	if (ports[0] && ports[1]) {
		dev_close(ports[0]->dev);
		dev_close(ports[1]->dev);
	}
	rtnl_unlock();
	remove_port(ports[0]);
	remove_port(ports[1]);
}

static int __init flowsim_init(void)
{
	int err = make_port(0);

	if (!err)
		err = make_port(1);
	if (err) {
		remove_port(ports[0]);
		return err;
	}
	ports[0]->peer = ports[1];
	ports[1]->peer = ports[0];
	return 0;
}

module_init(flowsim_init);
module_exit(flowsim_exit);
MODULE_DESCRIPTION("two wired ports of a simulated NIC with RSS contexts and flow rules");
MODULE_LICENSE("GPL");
