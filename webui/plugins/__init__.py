"""Extensions: the hooks they may implement and the host that loads and calls them."""
