/* Names for what a system may lack. An option, protocol or kind of message whose constant is
 * TN_ABSENT answers ENOTSUP; a flag that is 0 asks for nothing. */
#ifndef TCPNET_CONSTANTS_H
#define TCPNET_CONSTANTS_H

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#define TN_ABSENT (-1)

/* What only the kernel's own headers name. */
#if defined(__has_include)
#if __has_include(<linux/dccp.h>)
#include <linux/dccp.h>
#endif
#if __has_include(<linux/netfilter_ipv4.h>)
#include <linux/netfilter_ipv4.h>
#define IP6T_SO_ORIGINAL_DST SO_ORIGINAL_DST /* its header cannot stand beside the C library's */
#endif
#if __has_include(<linux/mptcp.h>)
#define TCP_IS_MPTCP 43 /* neither can linux/tcp.h */
#endif
#if __has_include(<linux/vm_sockets.h>)
#include <linux/vm_sockets.h>
#define TN_HAVE_VSOCK
#endif
#if __has_include(<netpacket/packet.h>)
#include <netpacket/packet.h>
#define TN_HAVE_PACKET
#endif
#endif

#if defined(TCP_KEEPALIVE) && !defined(TCP_KEEPIDLE)
#define TCP_KEEPIDLE TCP_KEEPALIVE /* Apple's name */
#endif
#if defined(SO_TIMESTAMPNS) && !defined(SCM_TIMESTAMPNS)
#define SCM_TIMESTAMPNS SO_TIMESTAMPNS
#endif
#if defined(SO_TIMESTAMPING) && !defined(SCM_TIMESTAMPING)
#define SCM_TIMESTAMPING SO_TIMESTAMPING
#endif

#ifndef SO_ACCEPTCONN
#define SO_ACCEPTCONN TN_ABSENT
#endif
#ifndef SO_ATTACH_FILTER
#define SO_ATTACH_FILTER TN_ABSENT
#endif
#ifndef SO_BINDTODEVICE
#define SO_BINDTODEVICE TN_ABSENT
#endif
#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX TN_ABSENT
#endif
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK TN_ABSENT
#endif
#ifndef SO_BUSY_POLL
#define SO_BUSY_POLL TN_ABSENT
#endif
#ifndef SO_BUSY_POLL_BUDGET
#define SO_BUSY_POLL_BUDGET TN_ABSENT
#endif
#ifndef SO_COOKIE
#define SO_COOKIE TN_ABSENT
#endif
#ifndef SO_DETACH_FILTER
#define SO_DETACH_FILTER TN_ABSENT
#endif
#ifndef SO_DOMAIN
#define SO_DOMAIN TN_ABSENT
#endif
#ifndef SO_INCOMING_CPU
#define SO_INCOMING_CPU TN_ABSENT
#endif
#ifndef SO_INCOMING_NAPI_ID
#define SO_INCOMING_NAPI_ID TN_ABSENT
#endif
#ifndef SO_LOCK_FILTER
#define SO_LOCK_FILTER TN_ABSENT
#endif
#ifndef SO_MARK
#define SO_MARK TN_ABSENT
#endif
#ifndef SO_MAX_PACING_RATE
#define SO_MAX_PACING_RATE TN_ABSENT
#endif
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE TN_ABSENT
#endif
#ifndef SO_NOSIGPIPE
#define SO_NOSIGPIPE TN_ABSENT
#endif
#ifndef SO_PASSCRED
#define SO_PASSCRED TN_ABSENT
#endif
#ifndef SO_PASSSEC
#define SO_PASSSEC TN_ABSENT
#endif
#ifndef SO_PEEK_OFF
#define SO_PEEK_OFF TN_ABSENT
#endif
#ifndef SO_PEERCRED
#define SO_PEERCRED TN_ABSENT
#endif
#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL TN_ABSENT
#endif
#ifndef SO_PRIORITY
#define SO_PRIORITY TN_ABSENT
#endif
#ifndef SO_PROTOCOL
#define SO_PROTOCOL TN_ABSENT
#endif
#ifndef SO_RCVBUFFORCE
#define SO_RCVBUFFORCE TN_ABSENT
#endif
#ifndef SO_RCVMARK
#define SO_RCVMARK TN_ABSENT
#endif
#ifndef SO_REUSEPORT
#define SO_REUSEPORT TN_ABSENT
#endif
#ifndef SO_REUSEPORT_LB
#define SO_REUSEPORT_LB TN_ABSENT
#endif
#ifndef SO_RXQ_OVFL
#define SO_RXQ_OVFL TN_ABSENT
#endif
#ifndef SO_SELECT_ERR_QUEUE
#define SO_SELECT_ERR_QUEUE TN_ABSENT
#endif
#ifndef SO_SETFIB
#define SO_SETFIB TN_ABSENT
#endif
#ifndef SO_SNDBUFFORCE
#define SO_SNDBUFFORCE TN_ABSENT
#endif
#ifndef SO_TIMESTAMP
#define SO_TIMESTAMP TN_ABSENT
#endif
#ifndef SO_TIMESTAMPING
#define SO_TIMESTAMPING TN_ABSENT
#endif
#ifndef SO_TIMESTAMPNS
#define SO_TIMESTAMPNS TN_ABSENT
#endif
#ifndef SO_TXREHASH
#define SO_TXREHASH TN_ABSENT
#endif
#ifndef SO_ORIGINAL_DST
#define SO_ORIGINAL_DST TN_ABSENT
#endif
#ifndef IP_ADD_MEMBERSHIP
#define IP_ADD_MEMBERSHIP TN_ABSENT
#endif
#ifndef IP_DROP_MEMBERSHIP
#define IP_DROP_MEMBERSHIP TN_ABSENT
#endif
#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT TN_ABSENT
#endif
#ifndef IP_FREEBIND
#define IP_FREEBIND TN_ABSENT
#endif
#ifndef IP_HDRINCL
#define IP_HDRINCL TN_ABSENT
#endif
#ifndef IP_MINTTL
#define IP_MINTTL TN_ABSENT
#endif
#ifndef IP_MTU
#define IP_MTU TN_ABSENT
#endif
#ifndef IP_MTU_DISCOVER
#define IP_MTU_DISCOVER TN_ABSENT
#endif
#ifndef IP_MULTICAST_ALL
#define IP_MULTICAST_ALL TN_ABSENT
#endif
#ifndef IP_PKTINFO
#define IP_PKTINFO TN_ABSENT
#endif
#ifndef IP_RECVERR
#define IP_RECVERR TN_ABSENT
#endif
#ifndef IP_RECVORIGDSTADDR
#define IP_RECVORIGDSTADDR TN_ABSENT
#endif
#ifndef IP_RECVTOS
#define IP_RECVTOS TN_ABSENT
#endif
#ifndef IP_RECVTTL
#define IP_RECVTTL TN_ABSENT
#endif
#ifndef IP_TRANSPARENT
#define IP_TRANSPARENT TN_ABSENT
#endif
#ifndef IPV6_AUTOFLOWLABEL
#define IPV6_AUTOFLOWLABEL TN_ABSENT
#endif
#ifndef IPV6_DONTFRAG
#define IPV6_DONTFRAG TN_ABSENT
#endif
#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND TN_ABSENT
#endif
#ifndef IPV6_HDRINCL
#define IPV6_HDRINCL TN_ABSENT
#endif
#ifndef IPV6_HOPLIMIT
#define IPV6_HOPLIMIT TN_ABSENT
#endif
#ifndef IPV6_JOIN_GROUP
#define IPV6_JOIN_GROUP TN_ABSENT
#endif
#ifndef IPV6_LEAVE_GROUP
#define IPV6_LEAVE_GROUP TN_ABSENT
#endif
#ifndef IPV6_MINHOPCOUNT
#define IPV6_MINHOPCOUNT TN_ABSENT
#endif
#ifndef IPV6_MTU
#define IPV6_MTU TN_ABSENT
#endif
#ifndef IPV6_MTU_DISCOVER
#define IPV6_MTU_DISCOVER TN_ABSENT
#endif
#ifndef IPV6_MULTICAST_ALL
#define IPV6_MULTICAST_ALL TN_ABSENT
#endif
#ifndef IPV6_PKTINFO
#define IPV6_PKTINFO TN_ABSENT
#endif
#ifndef IPV6_RECVERR
#define IPV6_RECVERR TN_ABSENT
#endif
#ifndef IPV6_RECVHOPLIMIT
#define IPV6_RECVHOPLIMIT TN_ABSENT
#endif
#ifndef IPV6_RECVPKTINFO
#define IPV6_RECVPKTINFO TN_ABSENT
#endif
#ifndef IPV6_RECVTCLASS
#define IPV6_RECVTCLASS TN_ABSENT
#endif
#ifndef IPV6_TCLASS
#define IPV6_TCLASS TN_ABSENT
#endif
#ifndef IPV6_TRANSPARENT
#define IPV6_TRANSPARENT TN_ABSENT
#endif
#ifndef IP6T_SO_ORIGINAL_DST
#define IP6T_SO_ORIGINAL_DST TN_ABSENT
#endif
#ifndef MCAST_BLOCK_SOURCE
#define MCAST_BLOCK_SOURCE TN_ABSENT
#endif
#ifndef MCAST_JOIN_SOURCE_GROUP
#define MCAST_JOIN_SOURCE_GROUP TN_ABSENT
#endif
#ifndef MCAST_LEAVE_SOURCE_GROUP
#define MCAST_LEAVE_SOURCE_GROUP TN_ABSENT
#endif
#ifndef MCAST_UNBLOCK_SOURCE
#define MCAST_UNBLOCK_SOURCE TN_ABSENT
#endif
#ifndef TCP_CONGESTION
#define TCP_CONGESTION TN_ABSENT
#endif
#ifndef TCP_CORK
#define TCP_CORK TN_ABSENT
#endif
#ifndef TCP_DEFER_ACCEPT
#define TCP_DEFER_ACCEPT TN_ABSENT
#endif
#ifndef TCP_FASTOPEN
#define TCP_FASTOPEN TN_ABSENT
#endif
#ifndef TCP_FASTOPEN_CONNECT
#define TCP_FASTOPEN_CONNECT TN_ABSENT
#endif
#ifndef TCP_FASTOPEN_NO_COOKIE
#define TCP_FASTOPEN_NO_COOKIE TN_ABSENT
#endif
#ifndef TCP_INFO
#define TCP_INFO TN_ABSENT
#endif
#ifndef TCP_INQ
#define TCP_INQ TN_ABSENT
#endif
#ifndef TCP_IS_MPTCP
#define TCP_IS_MPTCP TN_ABSENT
#endif
#ifndef TCP_KEEPCNT
#define TCP_KEEPCNT TN_ABSENT
#endif
#ifndef TCP_KEEPIDLE
#define TCP_KEEPIDLE TN_ABSENT
#endif
#ifndef TCP_KEEPINTVL
#define TCP_KEEPINTVL TN_ABSENT
#endif
#ifndef TCP_LINGER2
#define TCP_LINGER2 TN_ABSENT
#endif
#ifndef TCP_MAXSEG
#define TCP_MAXSEG TN_ABSENT
#endif
#ifndef TCP_MD5SIG_EXT
#define TCP_MD5SIG_EXT TN_ABSENT
#endif
#ifndef TCP_NOTSENT_LOWAT
#define TCP_NOTSENT_LOWAT TN_ABSENT
#endif
#ifndef TCP_QUICKACK
#define TCP_QUICKACK TN_ABSENT
#endif
#ifndef TCP_SAVED_SYN
#define TCP_SAVED_SYN TN_ABSENT
#endif
#ifndef TCP_SAVE_SYN
#define TCP_SAVE_SYN TN_ABSENT
#endif
#ifndef TCP_SYNCNT
#define TCP_SYNCNT TN_ABSENT
#endif
#ifndef TCP_THIN_DUPACK
#define TCP_THIN_DUPACK TN_ABSENT
#endif
#ifndef TCP_THIN_LINEAR_TIMEOUTS
#define TCP_THIN_LINEAR_TIMEOUTS TN_ABSENT
#endif
#ifndef TCP_TX_DELAY
#define TCP_TX_DELAY TN_ABSENT
#endif
#ifndef TCP_ULP
#define TCP_ULP TN_ABSENT
#endif
#ifndef TCP_USER_TIMEOUT
#define TCP_USER_TIMEOUT TN_ABSENT
#endif
#ifndef TCP_WINDOW_CLAMP
#define TCP_WINDOW_CLAMP TN_ABSENT
#endif
#ifndef UDP_CORK
#define UDP_CORK TN_ABSENT
#endif
#ifndef UDP_GRO
#define UDP_GRO TN_ABSENT
#endif
#ifndef UDP_NO_CHECK6_RX
#define UDP_NO_CHECK6_RX TN_ABSENT
#endif
#ifndef UDP_NO_CHECK6_TX
#define UDP_NO_CHECK6_TX TN_ABSENT
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT TN_ABSENT
#endif
#ifndef DCCP_SOCKOPT_SERVICE
#define DCCP_SOCKOPT_SERVICE TN_ABSENT
#endif
#ifndef DCCP_SOCKOPT_CCID
#define DCCP_SOCKOPT_CCID TN_ABSENT
#endif
#ifndef DCCP_SOCKOPT_TX_CCID
#define DCCP_SOCKOPT_TX_CCID TN_ABSENT
#endif
#ifndef DCCP_SOCKOPT_RX_CCID
#define DCCP_SOCKOPT_RX_CCID TN_ABSENT
#endif
#ifndef DCCP_SOCKOPT_SERVER_TIMEWAIT
#define DCCP_SOCKOPT_SERVER_TIMEWAIT TN_ABSENT
#endif
#ifndef DCCP_SOCKOPT_SEND_CSCOV
#define DCCP_SOCKOPT_SEND_CSCOV TN_ABSENT
#endif
#ifndef DCCP_SOCKOPT_RECV_CSCOV
#define DCCP_SOCKOPT_RECV_CSCOV TN_ABSENT
#endif
#ifndef DCCP_SOCKOPT_QPOLICY_TXQLEN
#define DCCP_SOCKOPT_QPOLICY_TXQLEN TN_ABSENT
#endif
#ifndef DCCP_SOCKOPT_AVAILABLE_CCIDS
#define DCCP_SOCKOPT_AVAILABLE_CCIDS TN_ABSENT
#endif
#ifndef DCCP_SOCKOPT_GET_CUR_MPS
#define DCCP_SOCKOPT_GET_CUR_MPS TN_ABSENT
#endif
#ifndef SO_VM_SOCKETS_BUFFER_MAX_SIZE
#define SO_VM_SOCKETS_BUFFER_MAX_SIZE TN_ABSENT
#endif
#ifndef SO_VM_SOCKETS_BUFFER_MIN_SIZE
#define SO_VM_SOCKETS_BUFFER_MIN_SIZE TN_ABSENT
#endif
#ifndef SO_VM_SOCKETS_BUFFER_SIZE
#define SO_VM_SOCKETS_BUFFER_SIZE TN_ABSENT
#endif
#ifndef AF_NETLINK
#define AF_NETLINK TN_ABSENT
#endif
#ifndef AF_PACKET
#define AF_PACKET TN_ABSENT
#endif
#ifndef AF_VSOCK
#define AF_VSOCK TN_ABSENT
#endif
#ifndef SOCK_DCCP
#define SOCK_DCCP TN_ABSENT
#endif
#ifndef SOCK_SEQPACKET
#define SOCK_SEQPACKET TN_ABSENT
#endif
#ifndef IPPROTO_DCCP
#define IPPROTO_DCCP TN_ABSENT
#endif
#ifndef IPPROTO_DIVERT
#define IPPROTO_DIVERT TN_ABSENT
#endif
#ifndef IPPROTO_ICMPV6
#define IPPROTO_ICMPV6 TN_ABSENT
#endif
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP TN_ABSENT
#endif
#ifndef IPPROTO_SCTP
#define IPPROTO_SCTP TN_ABSENT
#endif
#ifndef IPPROTO_UDPLITE
#define IPPROTO_UDPLITE TN_ABSENT
#endif
#ifndef SOL_DCCP
#define SOL_DCCP TN_ABSENT
#endif
#ifndef SOL_UDP
#define SOL_UDP TN_ABSENT
#endif
#ifndef SCM_CREDENTIALS
#define SCM_CREDENTIALS TN_ABSENT
#endif
#ifndef SCM_TIMESTAMPING
#define SCM_TIMESTAMPING TN_ABSENT
#endif
#ifndef SCM_TIMESTAMPNS
#define SCM_TIMESTAMPNS TN_ABSENT
#endif

#ifndef MSG_CONFIRM
#define MSG_CONFIRM 0
#endif
#ifndef MSG_ERRQUEUE
#define MSG_ERRQUEUE 0
#endif
#ifndef MSG_FASTOPEN
#define MSG_FASTOPEN 0
#endif
#ifndef MSG_MORE
#define MSG_MORE 0
#endif
#ifndef MSG_CMSG_CLOEXEC
#define MSG_CMSG_CLOEXEC 0
#endif
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

#endif
