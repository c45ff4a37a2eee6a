/** commander imports node:child_process for subcommands that are programs of their own. runt has none. */
export {}
