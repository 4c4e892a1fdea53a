"""The xapi hooks of a VM's life: what a start, a reboot, a resume and an end do on this host."""
