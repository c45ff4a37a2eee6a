/** commander imports node:fs for subcommands that are programs of their own. runt has none. */
export {}
