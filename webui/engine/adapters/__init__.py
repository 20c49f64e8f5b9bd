"""What is added to a loaded model without becoming part of it: LoRAs, textual inversions, hypernetworks."""
