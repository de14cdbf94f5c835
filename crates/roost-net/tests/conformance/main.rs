//! The Driver contract as tests: each case once, run on every backend.
//!
//! Both ends of every connection belong to drivers of the backend under test, so that a case needs
//! no raw socket and runs in the simulator as well. A peer that misbehaves does so with `pause`,
//! `shutdown_write` and `close(Abort)`. [`host::Host`] checks each event against the contract as
//! it comes; the cases ask for the rest.

mod backend;
mod child;
mod host;
mod stream;
mod world;

mod accepting;
mod closing;
mod keys;
mod limits;
mod model;
mod moving;
mod receiving;
mod resets;
mod sending;
mod unix;
mod waking;

/// Makes a module for each backend with a test for each case.
macro_rules! conformance {
    (
        backends { $($every:tt)* }
        every $cases:tt
        kernel $kernel_cases:tt
    ) => {
        conformance!(@each [$($every)*] $cases $kernel_cases);
    };
    (@each [] $cases:tt $kernel_cases:tt) => {};
    (@each [$name:ident: $backend:ty, kernel; $($rest:tt)*] $cases:tt $kernel_cases:tt) => {
        mod $name {
            conformance!(@tests $backend, $cases);
            conformance!(@tests $backend, $kernel_cases);
        }
        conformance!(@each [$($rest)*] $cases $kernel_cases);
    };
    (@each [$name:ident: $backend:ty, simulated; $($rest:tt)*] $cases:tt $kernel_cases:tt) => {
        mod $name {
            conformance!(@tests $backend, $cases);
        }
        conformance!(@each [$($rest)*] $cases $kernel_cases);
    };
    (@tests $backend:ty, { $($module:ident { $($case:ident)* })* }) => {
        $($(
            #[test]
            fn $case() {
                crate::$module::$case::<$backend>();
            }
        )*)*
    };
}

conformance! {
    backends {
        epoll: crate::backend::Epoll, kernel;
        uring_fd: crate::backend::Uring<false>, kernel;
        uring_direct: crate::backend::Uring<true>, kernel;
        sim: crate::backend::Sim, simulated;
    }
    every {
        accepting {
            accept_tells_both_ends
            connect_refused
            accepting_pauses_and_resumes
            stop_listening_refuses_connections
            stop_listening_keeps_all_accepted
            an_adopted_listener_accepts_beside_another
            a_closed_listener_hands_over_what_waits_and_others_go_on
            connect_from_a_local_address
            refuse_resets
            a_dropped_socket_is_closed
            many_clients_connect_at_once
        }
        receiving {
            echo_1_byte
            echo_125_bytes
            echo_64_kib
            echo_1_mb
            echo_8_mb
            small_read_buffer
            bytes_sent_before_adopt
            half_close_by_the_client
            half_close_by_the_server
            fin_waits_for_resume
            bytes_before_fin_come_first
            many_connections_with_few_buffers
            a_turn_ends_though_more_is_waiting
            a_flood_leaves_room_for_one_byte
            all_floods_are_served_in_turn
        }
        sending {
            many_small_chunks
            nothing_to_send_is_done
            a_peer_that_stops_reading
            two_batches_at_once_are_a_mistake
            fin_follows_the_batch_in_flight
            send_after_fin_is_gone
            both_directions_at_once
        }
        closing {
            close_sends_fin
            close_waits_for_the_batch
            abort_does_not_wait
            abort_ends_a_waiting_close
            close_twice_ends_once
            close_while_connecting
            nothing_comes_after_close
        }
        resets {
            reset_while_idle
            reset_with_a_batch_in_flight
            reset_while_paused
            reset_after_fin
            reset_before_adopt
            reset_while_closing
            reset_while_releasing
        }
        moving {
            released_sockets_lose_no_byte
            release_waits_for_the_batch
            release_while_paused
            release_after_fin
            release_keeps_fin_sent
            close_overrules_release
            released_and_dropped
        }
        keys {
            stale_keys_do_nothing
            a_taken_slot_is_refused
            slots_are_used_again_at_once
        }
        waking {
            a_wake_before_wait_is_not_lost
            wakes_coalesce
            now_never_goes_back
        }
        limits {
            open_counts_what_is_open
        }
        model {
            random_operations
        }
    }
    kernel {
        accepting {
            listeners_share_a_port
            ipv6_echo
        }
        unix {
            unix_clients_have_no_address
            unix_bytes_before_the_end_come_first
            unix_abort_ends_the_connection
            drivers_share_a_unix_socket
        }
        waking {
            a_wake_ends_an_endless_wait
            a_storm_of_wakes
            nothing_to_do_is_slept_through
            leftovers_end_a_wait
        }
        limits {
            no_descriptor_left
            descriptors_freed_elsewhere
            ten_thousand_connections
            many_clients_memory_is_freed
        }
    }
}
